r"""Shows where each policy ends the prefix of a real document.

python -m jrt_jax.prefix.preview --input=FILE --config=configs/jrt_tiny.py \
    --start=1000

The prompt is the config's sequence_length in tokens of FILE (plain, .gz or
.zst), from --start on; | marks the end of the prefix. Without
--config.prefix.file the entropy policy is calibrated on FILE itself.
"""

from absl import app
from absl import flags
from ml_collections import config_flags
import numpy as np

from configs import base
from jrt_jax import command_line
from jrt_jax.data import sources
from jrt_jax.data import tokenizers
from jrt_jax.prefix import fitting
from jrt_jax.prefix import policies
from jrt_jax.prefix import signals
from jrt_jax.reporting import tables

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'A file of configs/; default: configs/base.py.'
)
_INPUT = flags.DEFINE_string(
    'input', None, 'Files, plain, .gz or .zst: comma-separated globs.'
)
_START = flags.DEFINE_integer(
    'start', 0, 'The first token of the prompt.', lower_bound=0
)
_SIDE = 19  # characters before and after a boundary
_BAR = 20  # characters that stand for the prompt


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    config = _CONFIG.value.to_dict()
    tokenizer = tokenizers.load(config['data']['tokenizer'])
    pattern = command_line.required(_INPUT, 'FILES')
    for path in sources.find('--input', pattern):
      with command_line.reading('--input'), sources.open_text(path) as (
          file,
          _,
      ):
        document = tokenizer.encode(file.read())
      print(_preview(path, document, tokenizer, config))


def _preview(path, document, tokenizer, config):
  L, start = config['sequence_length'], _START.value
  prompt = document[start : start + L]
  if not len(prompt):
    raise ValueError(
        f'--start={start} with config.sequence_length={L} leaves no token of'
        f' {path}, which has {len(document):,}'
    )
  lines = [
      f'{path}: tokens {start:,} to {start + len(prompt):,} of'
      f' {len(document):,}',
      tables.aligned(
          [
              [*signals.SIGNALS],
              [f'{signal(prompt):.3f}' for signal in signals.SIGNALS.values()],
          ]
      ),
  ]
  for name in policies.PREFIX_POLICIES:
    prefix = _prefix(name, config['prefix'])
    if prefix is None:
      writer = policies.PREFIX_POLICIES[name].fit.written_by
      lines.append(f'{name:<8} needs --config.prefix.file of {writer}')
      continue
    prefix = fitting.fitted(
        prefix,
        document,
        sequence_length=L,
        tokenizer=tokenizer.fingerprint,
    )
    rng = np.random.default_rng(config['seed'])
    end = int(policies.lengths([prompt], prefix, L, rng)[0])
    lines.append(_line(name, prompt, end, tokenizer))
  return '\n'.join(lines)


def _prefix(name, prefix):
  """The settings of a policy; None if it needs a file that is not given."""
  prefix = {**prefix, 'name': name}
  fit = policies.PREFIX_POLICIES[name].fit
  if fit and prefix['file']:
    if fitting.read(prefix['file'])['policy'] != name:
      prefix['file'] = ''  # it is the file of another policy
  needs_file = fit and not fit.calibrate and not prefix['file']
  return None if needs_file else prefix


def _line(name, prompt, end, tokenizer):
  filled = round(_BAR * end / len(prompt))
  bar = '█' * filled + '░' * (_BAR - filled)
  before = tokenizer.decode(prompt[:end].tolist())[-_SIDE:]
  after = tokenizer.decode(prompt[end:].tolist())[:_SIDE]
  before, after = (repr(text)[1:-1] for text in (before, after))
  return f'{name:<8} {end:>6,} {bar} {before}|{after}'


def _parse(argv):
  if not any(x.partition('=')[0] in ('-config', '--config') for x in argv):
    argv = [argv[0], f'--config={base.__file__}', *argv[1:]]
  return command_line.parser(config='config')(argv)


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
