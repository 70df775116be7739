"""Eight virtual CPU devices, unless the caller says else; the train command."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

_FLAGS = {
    '--xla_force_host_platform_device_count': '8',
    '--xla_cpu_multi_thread_eigen': 'false',  # two workers share two cores
    '--xla_backend_optimization_level': '0',  # compiling takes most of the time
}


def _set_environment():
  """Must run before the first import of jax, which reads the environment."""
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  # Threads of XLA: the interpreter of Mosaic GPU blocks one for each warpgroup.
  os.environ.setdefault('NPROC', '16')
  # More would wait for each other: the systems of the delta rule are small.
  os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
  flags = os.environ.get('XLA_FLAGS', '')
  new = [f'{k}={v}' for k, v in _FLAGS.items() if k not in flags]
  os.environ['XLA_FLAGS'] = ' '.join([*flags.split(), *new])
  # No test writes into the cache of the user who runs it.
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    os.environ.setdefault('JAX_ENABLE_COMPILATION_CACHE', 'false')


_set_environment()

ROOT = pathlib.Path(__file__).parent.parent

# Files that take half a minute. They come first: if one of two workers began one
# of them at the end, the other would have nothing to do.
LONG_FILES = (
    'several_processes_test.py',
    'mosaic_sm90_test.py',
    'sequence_test.py',
    'train_test.py',
    'meshes_test.py',
    'models_test.py',
    'prefix_recurrence_test.py',
    'prompts_on_devices_test.py',
)


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: item.path.name not in LONG_FILES)


# A run of seconds on the smallest of models.
TINY = {
    'steps': 12,
    'batch_size': 4,
    'sequence_length': 32,
    'microbatch_per_device': 2,
    'log_every': 1,
    'eval_every': 8,
    'eval_batches': 2,
    'checkpoint_every': 3,
    'keep_checkpoints': 3,
    'sample_tokens': 8,
    'model.mixers': "('conv', 'pla', 'swa')",
    'model.width': 16,
    'model.num_heads': 2,
    'model.mlp_width': 32,
    'model.window': 5,
    'model.feature_map.feature_dim': 4,
    'prefix.name': 'uniform',  # prefixes are drawn, and so must be redrawn
    'optimizer.warmup_steps': 3,
    'data.source': 'text',
}


@pytest.fixture(scope='session')
def start(tmp_path_factory):
  """Starts the command; runs share what they compile."""
  folder = tmp_path_factory.mktemp('shared')
  text = folder / 'text.txt'
  text.write_text('the cat sat on the mat; the dog lay on the log. ' * 300)
  environment = os.environ | {
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': '--xla_backend_optimization_level=0',
      'JAX_ENABLE_COMPILATION_CACHE': 'true',
      'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  defaults = TINY | {'data.path': text}

  def start(workdir, *flags, config='configs/jrt_tiny.py', env={}, **keys):
    settings = defaults | {k.replace('__', '.'): v for k, v in keys.items()}
    return subprocess.Popen(
        [sys.executable, '-m', 'jrt_jax.train', f'--config={config}']
        + [f'--workdir={workdir}']
        + [f'--config.{key}={value}' for key, value in settings.items()]
        + list(flags),
        cwd=ROOT,
        env=environment | env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

  return start


@pytest.fixture(scope='session')
def error_line():
  """A function that returns the one error which a command wrote to stderr.

  Libraries may warn there as well.
  """

  def error_line(stderr):
    assert 'Traceback' not in stderr, stderr
    lines = stderr.splitlines()
    (error,) = (k for k, line in enumerate(lines) if line.startswith('error: '))
    assert error == len(lines) - 1, stderr  # and nothing follows
    return lines[error]

  return error_line


@pytest.fixture(scope='session')
def wait_for_step():
  """A function that returns as soon as a run in a workdir logs a step."""

  def wait(workdir, step, process):
    path = workdir / 'metrics.jsonl'
    while process.poll() is None:
      if path.exists() and f'"step": {step},' in path.read_text():
        return
      time.sleep(0.005)

  return wait
