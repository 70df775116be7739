"""Every feature map, with every normaliser that suits it, in whole models."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from configs.ablations import feature_map as ablation
from jrt_jax import cost
from jrt_jax import models
from jrt_jax.cost.feature_maps import MAPS
from jrt_jax.training import loop
from jrt_jax.training import optimizer
from jrt_jax.training import program
from jrt_jax.training import run as run_lib
from jrt_jax.training import train_state

pytestmark = pytest.mark.slow

B, L, P, D, VOCAB = 2, 9, 4, 4, 20
VANISHING = {'linear', 'gelu', 'gaussian_rff', 'polynomial', 'symmetric_power'}
PARTS = tuple(name for name in MAPS if name != 'mixture')
POSITIVE = tuple(name for name in PARTS if name not in VANISHING)


def settings(name, parts=PARTS):
  return {
      'name': name,
      'feature_dim': D,
      'num_features': 6,
      'parts': parts,
      'separate_encoder': name != 'mixture',
  }


def make_config(feature_map, normalizer, num_heads, dtype='float32'):
  """The `config.model` of one layer."""
  return base.get_config().model.to_dict() | {
      'mixers': ('pla',),
      'width': 4 * num_heads,
      'num_heads': num_heads,
      'mlp_width': 8,
      'vocab_size': VOCAB,
      'vocab_multiple': 4,
      'init_std': 0.3,
      'feature_map': feature_map,
      'normalizer': normalizer,
      'dtype': dtype,
  }


def make_batch():
  rng = np.random.default_rng(0)
  return {
      'tokens': rng.integers(VOCAB, size=(B, L)).astype(np.int32),
      'targets': rng.integers(VOCAB, size=(B, L)).astype(np.int32),
      'supervision': np.ones((B, L), np.int8),
      'prefix_len': np.int32([P, 2]),
  }


def train_step(merge, params, weights):
  """Params after a step with weight decay, and its metrics."""
  config = base.get_config().optimizer.to_dict() | {'weight_decay': 0.5}
  adamw = optimizer.build(config, 10, weights)
  steps = train_state.Steps(merge, adamw, P, 0.25)
  state, metrics = jax.jit(steps.train)(
      train_state.init(params, adamw), make_batch()
  )
  return state.params, metrics


def assert_reads_as_it_decodes(merge, params):
  batch = make_batch()

  @jax.jit
  def both(params):
    model = merge(params)
    prefix_len = batch['prefix_len']
    logits = model(batch['tokens'], prefix_len=prefix_len)
    last, states = model.prefill(batch['tokens'][:, :P], prefix_len=prefix_len)

    def step(states, tokens):
      return model.decode_step(tokens, states)[::-1]

    _, decoded = jax.lax.scan(step, states, batch['tokens'][:, P:].T)
    decoded = jnp.concatenate([last[None], decoded])
    return logits[:, P - 1 :].swapaxes(0, 1), decoded

  logits, decoded = both(params)
  assert np.isfinite(logits).all()
  np.testing.assert_allclose(decoded, logits, rtol=1e-4, atol=1e-4)


# All maps in one layer, each in a head: hybrid heads are what they are alone.
@pytest.mark.parametrize(
    'normalizer, dtype',
    [
        ('auto', 'float32'),
        ('auto', 'bfloat16'),
        ('sum', 'float32'),
        ('clamp', 'float32'),
        ('none', 'float32'),
        ('output_rms', 'float32'),
    ],
)
@pytest.mark.parametrize('name', ['hybrid_heads', 'mixture'])
def test_every_map_and_normalizer_trains_and_decodes(name, normalizer, dtype):
  parts = POSITIVE if normalizer == 'sum' else PARTS
  num_heads = len(parts) if name == 'hybrid_heads' else 2
  config = make_config(settings(name, parts), normalizer, num_heads, dtype)
  merge, params = models.split(models.build(config))
  after, metrics = train_step(merge, params, cost.weights(config))
  assert metrics['accepted'] == 1  # or a loss or gradient was not finite
  for key, x in after.items():
    assert np.isfinite(x).all(), key
    projection = key.endswith('.projection')
    assert (np.asarray(x) == params[key]).all() == projection, key
  if dtype == 'float32':
    assert_reads_as_it_decodes(merge, after)


@pytest.mark.parametrize('name', ablation.FEATURE_DIMS)
def test_every_map_trains_through_the_config_alone(name, tmp_path):
  text = tmp_path / 'text.txt'
  text.write_text('the cat sat on the mat; the dog lay on the log. ' * 900)
  config = ablation.get_config(f'{name}@jrt_tiny')
  config.update_from_flattened_dict(
      {
          'steps': 20,
          'batch_size': 8,
          'sequence_length': 32,
          'log_every': 1,
          'eval_every': 0,
          'eval_batches': 1,
          'checkpoint_every': 20,
          'sample_tokens': 4,
          'model.mixers': ('conv', 'pla'),
          'model.width': 16,
          'model.num_heads': 2,
          'model.mlp_width': 16,
          'data.source': 'text',
          'data.path': str(text),
          'optimizer.warmup_steps': 2,
          'mesh.data': 1,
      }
  )
  with run_lib.Run(config.to_dict(), tmp_path / 'run') as run:
    first = run.start()[0].params
    train_step = program.compile_step(run)
    assert loop.train(run, run.start()[0], train_step) is None
    last = run.start()[0].params  # of the checkpoint
  lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  losses = [x['loss'] for x in map(json.loads, lines) if 'loss' in x]
  assert all(map(math.isfinite, losses))
  assert losses[-1] < losses[0] - 0.3
  for key, x in last.items():
    drawn = key.endswith('.projection')
    assert (np.asarray(x) == first[key]).all() == drawn, key
