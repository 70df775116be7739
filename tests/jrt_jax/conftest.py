"""A model and a run small enough to compile in seconds; commands that use one."""

import os
import pathlib
import subprocess
import sys

import jax
from jax.experimental.compilation_cache import compilation_cache
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.training import workdirs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='session')
def tiny_config():
  """A function that returns `config.model` of a small model."""

  def make(**overrides):
    model = base.get_config().model.to_dict()
    overrides['pla'] = model['pla'] | overrides.get('pla', {})
    return {
        **model,
        'mixers': ('conv', 'pla', 'swa', 'la', 'pla'),
        'width': 16,
        'num_heads': 2,
        'mlp_width': 16,
        'vocab_size': 20,
        'vocab_multiple': 8,
        'mask_id': 19,
        'feature_map': {**model['feature_map'], 'feature_dim': 4},
        'window': 5,
        'gdn': {
            'num_heads': 2,
            'key_dim': 4,
            'value_dim': 6,
            'conv_kernel': 4,
            'prefix_passes': 'both',
        },
        'mamba2': {
            'num_heads': 4,
            'head_dim': 4,
            'state_dim': 6,
            'num_groups': 2,
            'conv_kernel': 4,
        },
        'init_std': 0.3,  # large enough for every token to matter
        'dtype': 'float32',
        **overrides,
    }

  return make


@pytest.fixture(scope='session')
def run_config():
  """A function that returns the config of a small run, as plain dicts.

  Its keywords are keys with __ in place of dots.
  """

  def make(**overrides):
    config = base.get_config()
    config.update_from_flattened_dict(
        {
            'steps': 6,
            'batch_size': 8,
            'sequence_length': 16,
            'microbatch_per_device': 4,
            'model.mixers': ('pla',),
            'model.width': 8,
            'model.num_heads': 2,
            'model.mlp_width': 8,
            'model.feature_map.feature_dim': 2,
            'model.vocab_size': 320,
            'model.mask_id': 319,
            'model.dtype': 'float32',
            'data.source': 'text',
            'log_every': 1,
            'eval_every': 0,
            'eval_batches': 1,
            'checkpoint_every': 100,
            'sample_tokens': 4,
        }
    )
    config.update_from_flattened_dict(
        {key.replace('__', '.'): value for key, value in overrides.items()}
    )
    return config.to_dict()

  return make


@pytest.fixture(scope='module')
def shared_compilation(tmp_path_factory):
  """The runs of a file share what they compile."""
  settings = {
      'jax_enable_compilation_cache': True,
      'jax_compilation_cache_dir': str(tmp_path_factory.mktemp('compiled')),
      'jax_persistent_cache_min_compile_time_secs': 0,
  }
  before = {name: getattr(jax.config, name) for name in settings}
  _configure(settings)
  yield
  _configure(before)


def _configure(settings):
  for name, value in settings.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()


@pytest.fixture(scope='session')
def compilations():
  """A function that returns how many programs have been compiled so far."""
  events = []
  jax.monitoring.register_event_duration_secs_listener(
      lambda name, *_, **__: events.append(name)
  )
  return lambda: events.count('/jax/core/compile/backend_compile_duration')


@pytest.fixture(scope='session')
def bytes_workdir(tmp_path_factory, tiny_config):
  """Of an untrained model of bytes with a prefix of 16 tokens."""
  config = tiny_config(mixers=('pla',), vocab_size=257)
  run = {
      'model': config,
      'prefix': {'name': 'fixed', 'capacity': 0.5},
      'sequence_length': 32,
      'data': {'tokenizer': 'bytes'},
  }
  path = tmp_path_factory.mktemp('runs') / 'run'
  params = models.split(models.build(config))[1]
  # Without this an untrained model with tied embeddings repeats its input.
  scale = jax.random.normal(jax.random.key(2), (config['width'],))
  params |= {'final_norm.scale': scale}
  workdirs.write(path, run, params, origin='a test')
  return path


@pytest.fixture(scope='session')
def run_command():
  """A function that runs a module, as a user runs it."""

  def run_command(module, *arguments, said='', **environment):
    return subprocess.run(
        [sys.executable, '-m', module, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        input=said,
        capture_output=True,
        text=True,
    )

  return run_command
