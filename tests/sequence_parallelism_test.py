"""Devices divide the positions of rows, and a model computes what one does.

`meshes_test.py` compares the losses of training on meshes with such an axis.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from jrt_jax import cost
from jrt_jax import models
from jrt_jax.compiled import collectives
from jrt_jax.compiled import hlo
from jrt_jax.compiled import traffic
from jrt_jax.cost import layout
from jrt_jax.runtime import sharding
from jrt_jax.training import optimizer
from jrt_jax.training import train_state

pytestmark = pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)

B, L, E, VOCAB = 4, 32, 12, 24
MODELS = {
    'jrt': ('conv', 'pla', 'swa'),
    'attention': ('attention',),
    'ridge': ('pla',),
    'gdn': ('gdn',),
    'mamba2': ('mamba2',),
    'prefix_gdn': ('prefix_gdn',),  # with a pass in each direction
    'prefix_mamba2': ('prefix_mamba2',),
}


def except_for(fast, names):
  """All names; their tests are slow, but for those of `fast`."""
  return [
      pytest.param(name, marks=() if name in fast else pytest.mark.slow)
      for name in names
  ]


@functools.cache
def make_model(name):
  """Returns `merge`, parameters, and their facts."""
  config = base.get_config().model
  config.mixers = MODELS[name]
  config.update(
      width=E,
      num_heads=2,
      mlp_width=0,
      vocab_size=VOCAB,
      vocab_multiple=8,
      window=6,
      init_std=0.3,
      dtype='float32',
  )
  config.feature_map.feature_dim = 3
  config.gdn.update(num_heads=1, key_dim=3, value_dim=4, prefix_passes='both')
  config.mamba2.update(num_heads=2, head_dim=3, state_dim=3)
  if name == 'ridge':
    config.init_std = 0.1  # of larger weights rounding would be amplified
    config.pla.prefix_reader = 'ridge'
  model = config.to_dict()
  return *models.split(models.build(model)), cost.weights(model)


def packed_rows(length):
  """Rows of documents that begin and end anywhere, with padding on a side."""
  rng = np.random.default_rng(0)
  ends = np.sort(rng.integers(length // 4, length, size=(B, 2)), axis=1)
  ids = (np.arange(length)[None, :, None] >= ends[:, None]).sum(axis=-1)
  mask = np.ones((B, length), bool)
  mask[0, : length // 3] = False  # all of the first of four devices
  mask[1, length // 3 :] = False
  return {
      'tokens': rng.integers(VOCAB, size=(B, length)).astype(np.int32),
      'prefix_len': np.array([length // 2, 0, ends[2, 0], 5], np.int32),
      'segment_ids': np.where(mask, ids, 0).astype(np.int32),
      'mask': mask,
  }


@functools.cache
def read(name, devices, length=L):
  """Returns (activations, gradients) of packed rows, and the compiled HLO."""
  merge, params, weights = make_model(name)
  mesh = sharding.make_mesh({'data': 1, 'fsdp': 1, 'sequence': devices})
  factors = np.random.default_rng(1).normal(size=(B, length, E))

  def loss(params, batch):
    rows = {k: x for k, x in batch.items() if k not in ('factors', 'tokens')}
    hidden = merge(params).hidden(
        batch['tokens'], prefix_capacity=length - 3, **rows
    )
    hidden = jnp.where(batch['mask'][..., None], hidden, 0)
    return jnp.sum(hidden * batch['factors']), hidden

  with jax.set_mesh(mesh):
    batch = packed_rows(length) | {'factors': factors.astype(np.float32)}
    batch = sharding.put_batch(batch, mesh)
    shardings = sharding.params_sharding(mesh, params, weights)
    params = jax.device_put(params, shardings)
    step = jax.jit(
        jax.value_and_grad(loss, has_aux=True), out_shardings=(None, shardings)
    )
    step = step.lower(params, batch).compile()
    (_, hidden), gradients = step(params, batch)
  return jax.device_get((hidden, gradients)), step.as_text()


def sent(name, length):
  """The bytes that each of four devices sends, by kind of exchange."""
  found = collectives.exchanges(
      traffic.operations(hlo.parse(read(name, 4, length)[1]), unknown_trips=1),
      mesh=dict.fromkeys(layout.AXES, 1) | {'sequence': 4},
      gpus_per_node=8,
  )
  return {
      kind: sum(x['sent'] for x in found if x['kind'] == kind)
      for kind in collectives.KINDS
  }


@pytest.mark.parametrize('name', except_for(['jrt'], MODELS))
def test_packed_documents_and_padding_are_read_as_on_one_device(name):
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
      read(name, 4)[0],
      read(name, 1)[0],
  )


@pytest.mark.parametrize(
    'name', except_for(['jrt'], MODELS.keys() - {'attention', 'prefix_gdn'})
)
def test_what_devices_send_does_not_depend_on_the_length(name):
  bytes_sent = sent(name, L)
  assert bytes_sent['all-gather'] or bytes_sent['collective-permute']
  assert sent(name, 2 * L) == bytes_sent


@pytest.mark.slow
def test_devices_gather_the_keys_and_values_of_attention():
  once, twice = sent('attention', L), sent('attention', 2 * L)
  keys_and_values = 4 * 2 * B * L * E
  assert once['all-gather'] >= keys_and_values * 3 / 4  # but for its own
  assert twice['all-gather'] == pytest.approx(2 * once['all-gather'], rel=0.05)


@pytest.mark.slow
def test_a_pass_from_the_last_token_to_the_first_exchanges_positions():
  once, twice = sent('prefix_gdn', L), sent('prefix_gdn', 2 * L)
  assert once['all-gather'] == twice['all-gather']  # of states
  assert once['collective-permute'] < twice['collective-permute']


def test_a_window_that_is_longer_than_the_part_of_a_device_is_refused():
  with pytest.raises(ValueError, match='at least the 5 positions .* got 4'):
    read('jrt', 8)


@pytest.mark.slow
def test_eight_devices_need_an_eighth_of_the_memory_for_a_long_prefix():
  merge, params, weights = make_model('jrt')
  length = 2**17
  adamw = optimizer.build(base.get_config().optimizer.to_dict(), 10, weights)
  steps = train_state.Steps(merge, adamw, length, 0.25)
  tokens = np.arange(length, dtype=np.int32)[None] % VOCAB
  batch = {
      'tokens': tokens,
      'targets': (tokens + 1) % VOCAB,
      'supervision': np.ones((1, length), np.int8),
      'prefix_len': np.full(1, length, np.int32),
  }
  memory = []
  for devices in (1, 8):
    mesh = sharding.make_mesh({'data': 1, 'fsdp': 1, 'sequence': devices})
    with jax.set_mesh(mesh):
      state = train_state.init(params, adamw)
      shardings = sharding.params_sharding(mesh, state, weights)
      state = jax.device_put(state, shardings)
      here = sharding.put_batch(batch, mesh)
      step = jax.jit(steps.train, out_shardings=(shardings, None))
      step = step.lower(state, here).compile()
      memory.append(step.memory_analysis().temp_size_in_bytes)
  assert memory[1] == pytest.approx(memory[0] / 8, rel=0.15)
  with jax.set_mesh(mesh):
    _, metrics = step(state, here)
  assert 0 < metrics['loss'] < 10 and metrics['loss_tokens'] == length
