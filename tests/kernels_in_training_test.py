"""A model learns with the Hopper kernels what it learns in plain JAX."""

import functools

import jax
from jax.experimental.pallas import mosaic_gpu as plgpu
import numpy as np
import pytest

from configs import base
from jrt_jax import cost
from jrt_jax import models
from jrt_jax.runtime import sharding
from jrt_jax.training import optimizer
from jrt_jax.training import train_state
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import mosaic_sm90

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
    ),
]

B, L, P, VOCAB = 2, 128, 64, 40


def make_batch(seed, packing):
  rng = np.random.default_rng(seed)
  tokens = rng.integers(VOCAB, size=(B, L)).astype(np.int32)
  documents = {}
  if packing == 'documents':  # the first is at least as long as its prefix
    ends = rng.random((B, L)) < (np.arange(L) >= P) / 20
    documents = {'segment_ids': np.cumsum(ends, axis=1, dtype=np.int32)}
  return documents | {
      'tokens': tokens,
      'targets': (3 * tokens + 1) % VOCAB,  # so that there is a rule to learn
      'supervision': rng.integers(3, size=(B, L)).astype(np.int8),
      'prefix_len': rng.integers(P + 1, size=B).astype(np.int32),
  }


def train(implementation, packing, steps):
  """Returns the losses of so many steps of a model of one head."""
  config = base.get_config()
  config.model.mixers = ('conv', 'pla')
  config.model.update(
      width=64,
      num_heads=1,
      mlp_width=64,
      vocab_size=VOCAB,
      vocab_multiple=8,
      init_std=0.1,
      implementation=implementation,
  )
  config.optimizer.update(peak_lr=1e-2, warmup_steps=4)
  model = config.model.to_dict()
  merge, params = models.split(models.build(model))
  weights = cost.weights(model)
  adamw = optimizer.build(config.optimizer.to_dict(), steps, weights)
  step = jax.jit(train_state.Steps(merge, adamw, P, 0.25, accumulation=1).train)
  with jax.set_mesh(sharding.make_mesh({'data': 1, 'fsdp': 1, 'tensor': 1})):
    state = train_state.init(params, adamw)
    losses = []
    for seed in range(steps):
      state, metrics = step(state, make_batch(seed, packing))
      losses.append(metrics['loss'].item())
  return losses


@pytest.fixture
def interpreted(monkeypatch):
  interpreted = functools.partial(
      mosaic_sm90.mosaic_sm90, interpret=plgpu.InterpretGPUParams()
  )
  monkeypatch.setitem(api.IMPLEMENTATIONS, 'mosaic_sm90', interpreted)


@pytest.mark.parametrize('packing, steps', [('concat', 20), ('documents', 3)])
def test_the_losses_are_those_of_the_chunked_path(interpreted, packing, steps):
  expected = train('chunked', packing, steps)
  assert steps < 20 or expected[-1] < 0.9 * expected[0]
  actual = train('mosaic_sm90', packing, steps)
  np.testing.assert_allclose(actual, expected, rtol=1e-2)
