r"""Fits the thresholds of the entropy policy to a corpus.

python -m jrt_jax.prefix.calibrate --config=configs/jrt_tiny.py \
    --config.prefix.signal=unigram_entropy --out=policy.json

Thresholds are quantiles of the signal over windows of the config's training
data. Train with --config.prefix.name=entropy --config.prefix.file=policy.json.
"""

from absl import app
from absl import flags
from ml_collections import config_flags
import numpy as np

from jrt_jax import command_line
from jrt_jax.data import splits
from jrt_jax.data import tokenizers
from jrt_jax.prefix import fitting
from jrt_jax.prefix import heuristic
from jrt_jax.prefix import policies

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'A file of configs/; --config.KEY=VALUE changes a key.'
)
_OUT = flags.DEFINE_string('out', None, 'The file for the policy.')
_WINDOWS = flags.DEFINE_integer(
    'windows',
    fitting.WINDOWS,
    'How many windows of config.sequence_length tokens are measured.',
    lower_bound=2,
)


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    command_line.output_file(_OUT)
    config = _CONFIG.value.to_dict()
    prefix = {**config['prefix'], 'name': 'entropy'}
    L = config['sequence_length']
    capacity = policies.prefix_capacity(prefix, L)
    heuristic.warn_of_rounding(capacity, prefix)
    tokenizer = tokenizers.load(config['data']['tokenizer'])
    stream = splits.token_streams(config['data'], tokenizer)['train']
    windows = fitting.sample_windows(stream, L, _WINDOWS.value)
    content = fitting.calibrated(prefix, windows, tokenizer.fingerprint)
    fitting.write(_OUT.value, content)
    print(_summary({**prefix, 'fitted': content}, windows, L))


def _summary(prefix, windows, sequence_length):
  rng = np.random.default_rng(0)  # not used by this policy
  lengths = policies.lengths(windows, prefix, sequence_length, rng)
  values, counts = np.unique(lengths, return_counts=True)
  limits = ', '.join(f'{x:.4g}' for x in prefix['fitted']['thresholds'])
  lines = [
      f'{prefix["signal"]} of {len(windows):,} windows of'
      f' {len(windows[0]):,} tokens: thresholds {limits}',
      *(f'prefix {v:>6,}: {n:>6,} windows' for v, n in zip(values, counts)),
      f'wrote {_OUT.value}; train with --config.prefix.name=entropy'
      f' --config.prefix.file={_OUT.value}'
      f' --config.prefix.signal={prefix["signal"]}',
  ]
  return '\n'.join(lines)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser(config='config'))
