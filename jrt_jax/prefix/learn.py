r"""Learns how long a prefix each prompt needs, and compares ways to learn it.

python -m jrt_jax.prefix.learn --trials=trials.npz --cost=0.01 --out=policy.json

jrt_jax.prefix_trials writes trials.npz. Any .npz file will do that has `tokens`
int [N, n], `fractions` [K], ascending, and `scores` [N, K]: how well a model
answers each prompt if that fraction of it is prefix. Optional arrays are
`lengths` [N], for rows shorter than n, `seconds` [K], the times to show,
`sequence_length` of the model (default: n), and `tokenizer`, the fingerprint of
its tokenizer. Without --trials, prompts are simulated. The printed figures are
for a random half of the prompts, which is held out. A reward is a score minus
--cost times the fraction that is prefix.

Train with --config.prefix.name=learned --config.prefix.file=policy.json.
"""

from absl import app
from absl import flags
import numpy as np

from jrt_jax import command_line
from jrt_jax.prefix import fitting
from jrt_jax.prefix.learned import comparison
from jrt_jax.prefix.learned import policy
from jrt_jax.prefix.learned import simulation
from jrt_jax.prefix.learned import trials
from jrt_jax.reporting import tables

_TRIALS = flags.DEFINE_string(
    'trials', None, 'The .npz file of scores by prompt and fraction.'
)
_OUT = flags.DEFINE_string(
    'out', None, 'The file for the policy; default: it is not saved.'
)
_METHOD = flags.DEFINE_enum(
    'method',
    'full feedback',
    comparison.LEARNED,
    'The way to learn whose policy --out saves.',
)
_COST = flags.DEFINE_float(
    'cost',
    simulation.COST,
    'The cost of a full prefix, in the unit of the scores.',
    lower_bound=0.0,
)
_SEED = flags.DEFINE_integer(
    'seed', 0, 'The seed for the held-out half, the controls and sampling.'
)


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    if _OUT.value:
      command_line.output_file(_OUT)
    rng = np.random.default_rng(_SEED.value)
    table, tokenizer = simulation.table(2000, rng), 'simulation'
    if _TRIALS.value:
      with command_line.reading('--trials'):
        table, tokenizer = trials.load(_TRIALS.value)
    result = comparison.run(table, _COST.value, rng)
    print(_table(result))
    if _OUT.value:
      outcome = result[_METHOD.value]
      content = {
          'policy': 'learned',
          'tokenizer': tokenizer,
          'tokens': table.sequence_length,
          'mean_fraction': outcome.fraction,
          **policy.to_json(outcome.choice),
      }
      fitting.write(_OUT.value, content)
      print(f'wrote {_OUT.value}')
      if outcome.gain <= outcome.gain_error:
        print(
            f'{_METHOD.value} has no significant gain over the best fixed'
            f' prefix here: {outcome.gain:+.4f} ± {outcome.gain_error:.4f}'
        )


def _table(outcomes):
  """A table with one policy a line."""
  gain = 'gain over best fixed (95 %)'
  rows = [('', 'reward', 'score', 'prefix', 'ms', 'regret', gain)]
  for name, o in outcomes.items():
    ms = '-' if np.isnan(o.seconds) else f'{1000 * o.seconds:.1f}'
    rows.append(
        (
            name,
            *(f'{x:.4f}' for x in (o.reward, o.score)),
            f'{o.fraction:.3f}',
            ms,
            f'{o.regret:.4f}',
            f'{o.gain:+.4f} ± {o.gain_error:.4f}',
        )
    )
  return tables.aligned(rows, '<>>>>><')


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
