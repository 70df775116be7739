import pytest

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import training
from jrt_jax.reproduce.exhibits import jrt_prompt_trained

EXHIBIT = jrt_prompt_trained.EXHIBIT
PLAN = EXHIBIT.plan(exhibit.Request('cpu'), {})


@pytest.mark.parametrize(
    'twice, longer, word',
    [(0.9, 0.8, 'holds'), (0.6, 0.5, 'fails'), (0.9, 0.95, 'fails')],
)
def test_reading_twice_must_gain_at_equal_steps_and_at_equal_tokens(
    trained, twice, longer, word
):
  once_steps = min(job.settings['overrides']['steps'] for job in PLAN)

  def share(settings):
    overrides = settings['overrides']
    if 'attention' in overrides['model.mixers']:
      return 1.0
    if overrides.get('data.synthetic.order') == 'DDQ':
      return twice
    return longer if overrides['steps'] > once_steps else 0.7

  assert EXHIBIT.verdict(trained(EXHIBIT, share)).word == word


def test_training_longer_takes_as_many_tokens_as_reading_twice():
  tokens = {}
  for job in PLAN:
    config = training.config(job.settings)
    arm = job.name.split('-')[1]
    tokens[arm] = config['steps'] * config['sequence_length']
  assert tokens['longer'] == tokens['twice'] == 2 * tokens['once']
