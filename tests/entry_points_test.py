"""Commands start fast: they import what takes long only where they need it."""

import pathlib
import subprocess
import sys

import pytest

from jrt_jax import commands

ROOT = pathlib.Path(__file__).parent.parent

# Each takes longer than all that light commands import.
LONG = {
    *('datasets', 'flax', 'grain', 'jax', 'lm_eval', 'matplotlib', 'orbax'),
    *('pandas', 'scipy', 'tensorboardX', 'torch', 'transformers', 'wandb'),
}
# Commands that compute with a model or its weights import these at once.
OF_MODELS = {'flax', 'grain', 'jax', 'orbax', 'tensorboardX'}
LIGHT = (
    'jrt_jax',
    'launch',
    'jrt_jax.data.contamination',
    'jrt_jax.data.prepare',
    'jrt_jax.data.train_tokenizer',
    'jrt_jax.plan',
    'jrt_jax.plot',
    'jrt_jax.prefix.calibrate',
    'jrt_jax.prefix.learn',
    'jrt_jax.prefix.preview',
    'jrt_jax.prompting.preview',
)
# It is lm-eval's own command line.
NOT_OURS = 'jrt_jax.lm_eval_cli'

# Prints the packages that `python -m MODULE --help` has imported.
HELP = """
import contextlib, os, runpy, sys
module = sys.argv[1]
sys.argv = [module, '--help']
with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere):
  with contextlib.suppress(SystemExit):
    runpy.run_module(module, run_name='__main__', alter_sys=True)
print(*{name.partition('.')[0] for name in sys.modules})
"""

# The compiler of the Hopper kernels, which only those GPUs need.
KERNELS = 'jax.experimental.mosaic.gpu'


def imported(module):
  """The packages of `LONG` that the help of a command imports."""
  done = subprocess.run(
      [sys.executable, '-c', HELP, module],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=True,
  )
  return LONG & {*done.stdout.split()}


@pytest.mark.parametrize('module', LIGHT)
def test_a_light_command_imports_nothing_that_takes_long(module):
  assert not imported(module)


@pytest.mark.slow
@pytest.mark.parametrize(
    'module', sorted({*commands.names()} - {*LIGHT, NOT_OURS})
)
def test_a_command_for_models_imports_only_what_models_need(module):
  assert imported(module) <= OF_MODELS


@pytest.mark.parametrize('module', ['jrt_jax.train', 'pallas_kernels'])
def test_the_hopper_kernels_are_imported_where_they_run(module):
  code = f'import sys, {module}; print({KERNELS!r} in sys.modules)'
  run = [sys.executable, '-c', code]
  assert subprocess.check_output(run, cwd=ROOT, text=True) == 'False\n'


def test_an_import_that_takes_long_is_found():
  assert 'jax' in imported('jrt_jax.probe')
