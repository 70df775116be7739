r"""Trains a model, or continues training it.

python -m jrt_jax.train --config=configs/jrt_360m.py --workdir=runs/jrt_360m \
    --config.batch_size=128

The same command continues a run that was stopped. Exit codes: 0 at the last
step, 1 if training diverged or ran out of memory, 2 for a mistake in the
command, 128 + n after signal n.
"""

import pathlib
import sys

from absl import app
from absl import flags
from ml_collections import config_flags

from jrt_jax import command_line
from jrt_jax.training import loop
from jrt_jax.training import report
from jrt_jax.training import run as run_lib

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'A file of configs/; --config.KEY=VALUE changes a key.'
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Where the run is kept; default: runs/ and the config.'
)
_ALLOW_CONFIG_CHANGE = flags.DEFINE_bool(
    'allow_config_change', False, 'Continue a run with another config.'
)


def main(argv: list[str]) -> None:
  del argv
  config = _CONFIG.value.to_dict()
  with command_line.one_line_failures(loop.Diverged):
    with command_line.one_line_errors():
      run = run_lib.Run(
          config,
          _WORKDIR.value or _default_workdir(),
          allow_config_change=_ALLOW_CONFIG_CHANGE.value,
      )
      print(run.plan())
      if remark := report.demonstration(config, run.tokenizer):
        print(remark)
      state, origin = run.start()
      print(f'start: {origin}', flush=True)
    signal = loop.train(run, state)
  sys.exit(128 + signal if signal else 0)


def _default_workdir():
  file = config_flags.get_config_filename(flags.FLAGS['config'])
  return pathlib.Path('runs') / pathlib.Path(file).stem


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser(config='config'))
