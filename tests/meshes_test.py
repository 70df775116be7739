"""On eight devices models learn what they learn on one, however divided."""

import functools
import itertools
import re

import jax
import numpy as np
import pytest

from configs import base
from jrt_jax import cost
from jrt_jax import models
from jrt_jax.cost import layout
from jrt_jax.runtime import sharding
from jrt_jax.training import optimizer
from jrt_jax.training import train_state

pytestmark = pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)

B, L, P, E, VOCAB, STEPS = 32, 28, 12, 24, 40, 20
MODELS = {
    'all': ('conv', 'pla', 'swa', 'attention'),
    'jrt': ('conv', 'pla', 'swa'),
    'based': ('conv', 'la', 'swa'),
    'attention': ('attention', 'attention'),
    'mlp': ('pla', 'la'),  # a feature map with parameters of each head
    'hybrid': ('pla', 'la'),  # two maps, of two heads each
    'recurrences': ('gdn', 'mamba2'),
    'ridge': ('pla', 'pla'),
    'prefix_recurrences': ('prefix_gdn', 'prefix_mamba2'),
}
MESHES = {  # data, fsdp, sequence, tensor
    'one device': (1, 1, 1, 1),
    'data': (8, 1, 1, 1),
    'fsdp': (1, 8, 1, 1),
    'fsdp x tensor': (1, 4, 1, 2),
    'sequence': (1, 1, 4, 1),
    'data x sequence': (4, 1, 2, 1),
    'fsdp x sequence x tensor': (1, 2, 2, 2),
}


def except_for(fast, names):
  """All names; their tests are slow, but for those of `fast`."""
  return [
      pytest.param(name, marks=() if name in fast else pytest.mark.slow)
      for name in names
  ]


every_model = pytest.mark.parametrize('name', except_for(['all'], MODELS))
# Groups of heads that have maps of their own are exchanged between devices.
every_uniform_model = pytest.mark.parametrize(
    'name', except_for(['all'], MODELS.keys() - {'hybrid'})
)


@functools.cache
def make_model(name):
  config = base.get_config()
  config.model.mixers = MODELS[name]
  config.model.update(
      width=E,
      num_heads=2,
      mlp_width=32,
      vocab_size=VOCAB,
      vocab_multiple=8,
      window=5,
      init_std=0.3,
      dtype='float32',
  )
  config.model.feature_map.feature_dim = 4
  config.model.gdn.update(num_heads=2, key_dim=4, value_dim=6)
  config.model.mamba2.update(num_heads=4, head_dim=6, state_dim=4)
  if name in ('recurrences', 'prefix_recurrences', 'ridge'):
    config.model.init_std = 0.1  # of norms near 0 rounding would be amplified
  if name == 'ridge':
    config.model.pla.prefix_reader = 'ridge'
  if name == 'mlp':
    config.model.feature_map.update(name='mlp', num_features=6)
  if name == 'hybrid':
    config.model.num_heads = 4
    config.model.feature_map.update(
        name='hybrid_heads', parts=('mlp', 'hedgehog'), num_features=6
    )
  model = config.model.to_dict()
  merge, params = models.split(models.build(model))
  # Every mesh begins with the same.
  return merge, jax.device_get(params), cost.weights(model)


def make_batch(seed):
  rng = np.random.default_rng(seed)
  tokens = rng.integers(VOCAB, size=(B, L)).astype(np.int32)
  return {
      'tokens': tokens,
      'targets': (3 * tokens + 1) % VOCAB,  # so that there is a rule to learn
      'supervision': rng.integers(3, size=(B, L)).astype(np.int8),
      'prefix_len': rng.integers(P + 1, size=B).astype(np.int32),
  }


@functools.cache
def train(name, mesh, optimizer_name='adamw'):
  """Returns the losses of 20 steps and the compiled step's HLO."""
  merge, params, weights = make_model(name)
  settings = base.get_config().optimizer.to_dict() | {
      'name': optimizer_name,
      'peak_lr': 1e-2,
      'warmup_steps': 4,
  }
  tx = optimizer.build(settings, STEPS, weights)
  steps = train_state.Steps(merge, tx, P, 0.25, accumulation=2)
  mesh = sharding.make_mesh(dict(zip(layout.AXES, MESHES[mesh])))
  with jax.set_mesh(mesh):
    state = train_state.init(params, tx)
    shardings = sharding.params_sharding(mesh, state, weights)
    state = jax.device_put(state, shardings)
    put = functools.partial(sharding.put_batch, mesh=mesh)
    step = jax.jit(steps.train, out_shardings=(shardings, None))
    step = step.lower(state, put(make_batch(0))).compile()
    losses = []
    for seed in range(STEPS):
      state, metrics = step(state, put(make_batch(seed)))
      losses.append(metrics['loss'].item())
  return losses, step.as_text()


def exchanges(hlo, kind):
  """The shapes of all results of collectives of a kind."""
  results = re.findall(rf'= (.*?) {kind}(?:-start)?\(', hlo)
  shapes = re.findall(r'\w+\[([\d,]*)\]', ' '.join(results))
  return [tuple(map(int, filter(None, shape.split(',')))) for shape in shapes]


@pytest.mark.parametrize(
    'mesh',
    except_for(
        ['data', 'fsdp x tensor', 'fsdp x sequence x tensor'], list(MESHES)[1:]
    ),
)
@every_model
def test_every_mesh_gives_the_losses_of_one_device(name, mesh):
  expected, _ = train(name, 'one device')
  actual, _ = train(name, mesh)
  assert expected[-1] < 0.9 * expected[0]
  np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('mesh', [*MESHES][1:])
def test_every_mesh_gives_the_losses_of_muon_on_one_device(mesh):
  expected, _ = train('jrt', 'one device', 'muon')
  actual, _ = train('jrt', mesh, 'muon')
  assert expected[-1] < 0.9 * expected[0]
  np.testing.assert_allclose(actual, expected, rtol=1e-4)


@every_uniform_model
def test_replicas_exchange_sums_once_a_step(name):
  _, hlo = train(name, 'data')
  for kind in ('all-gather', 'all-to-all', 'collective-permute'):
    assert not exchanges(hlo, kind)
  loops, step = hlo.split('\nENTRY ')  # what comes before is called by it
  assert not exchanges(loops, 'all-reduce')
  counts = [np.prod(s, dtype=int) for s in exchanges(step, 'all-reduce')]
  parameters = sum(x.size for x in make_model(name)[1].values())
  assert parameters <= sum(counts) < parameters + 100  # and a few scalars


@pytest.mark.parametrize(
    'mesh', except_for(['fsdp x tensor'], ['fsdp', 'fsdp x tensor'])
)
@every_uniform_model
def test_devices_that_share_parameters_gather_nothing_else(name, mesh):
  _, hlo = train(name, mesh)
  tensor = MESHES[mesh][-1]
  whole = {
      tuple(
          size // tensor if axis == 'tensor' else size
          for size, axis in itertools.zip_longest(x.shape, x.axes)
      )
      for x in make_model(name)[2].values()
  }
  whole |= {tuple(reversed(shape)) for shape in whole}  # of the transposed
  gathered = exchanges(hlo, 'all-gather')
  assert gathered and set(gathered) <= whole
  for kind in ('all-to-all', 'collective-permute'):
    assert not exchanges(hlo, kind)
