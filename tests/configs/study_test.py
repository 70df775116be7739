import re

import pytest

from configs import study
from jrt_jax.data import vocabulary
from jrt_jax import cost


def parameters(arm):
  return sum(cost.parameters(study.get_config(arm).model.to_dict()).values())


def test_the_arms_have_as_many_parameters_as_the_docstring_says():
  stated = re.findall(r'^    (\w+) .* ([\d,]{9})', study.__doc__, re.M)
  found = {arm: f'{parameters(arm):,}' for arm in study.ARMS}
  assert dict(stated) == found
  counts = [parameters(arm) for arm in study.ARMS]
  assert max(counts) < 1.02 * min(counts)


def test_the_arms_read_the_same_tokens():
  configs = [study.get_config(arm).to_dict() for arm in study.ARMS]
  for key in ('seed', 'steps', 'batch_size', 'sequence_length', 'data'):
    assert all(config[key] == configs[0][key] for config in configs), key
  first = configs[0]
  tokens = first['steps'] * first['batch_size'] * first['sequence_length']
  assert tokens == pytest.approx(6.0e6, rel=0.01)


@pytest.mark.parametrize('arm', study.ARMS)
def test_the_tokenizer_leaves_one_id_for_masks(arm):

  class Tokenizer:
    size = 4095

  config = study.get_config(arm).to_dict()
  model = config['model']
  assert (
      vocabulary.with_vocabulary(model, Tokenizer, config['objective']) == model
  )


def test_a_rate_brings_its_last_rate():
  optimizer = study.get_config('based@1e-3').optimizer
  assert (optimizer.peak_lr, optimizer.min_lr) == (1e-3, 1e-4)


@pytest.mark.parametrize(
    'choice, message', [('mamba', "of .*'jrt'.* got 'mamba'")]
)
def test_an_unknown_arm_is_refused(choice, message):
  with pytest.raises(ValueError, match=message):
    study.get_config(choice)
