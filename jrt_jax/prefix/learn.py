r"""Learns how long a prefix each prompt needs, and compares ways to learn it.

python -m jrt_jax.prefix.learn --trials=trials.npz --cost=0.01 --out=policy.json

trials.npz is what jrt_jax.prefix_trials has written, or anything that holds
`tokens` int [N, n], `fractions` [K], ascending, and `scores` [N, K], how well a
model answers a prompt of which that fraction is prefix; with `lengths` [N] rows
may be shorter than n, with `seconds` [K] times are shown, `sequence_length` is
that of the model (default: n), and `tokenizer` the fingerprint of its tokenizer.
Without --trials prompts are simulated. A random half of the prompts is held out
for the numbers shown.

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

_TRIALS = flags.DEFINE_string('trials', None, 'Scores by prompt and fraction.')
_OUT = flags.DEFINE_string('out', None, 'The file of the policy, if wanted.')
_METHOD = flags.DEFINE_enum(
    'method', 'full feedback', comparison.LEARNED, 'What --out takes.'
)
_COST = flags.DEFINE_float(
    'cost',
    simulation.COST,
    'What a full prefix costs, in units of scores.',
    lower_bound=0.0,
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of halves, controls and draws.')


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    if _OUT.value:
      command_line.output_file('--out', _OUT.value)
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
            f'{_METHOD.value} does not surely gain over the best fixed prefix'
            f' here: {outcome.gain:+.4f} ± {outcome.gain_error:.4f}'
        )


def _table(outcomes):
  """A policy a line."""
  gain = 'gain over best fixed (95 %)'
  rows = [('', 'reward', 'score', 'M / l', 'ms', 'regret', gain)]
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
