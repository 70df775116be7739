"""Feature maps in PyTorch weigh keys as ours do."""

import importlib

from flax import nnx
import jax
import numpy as np
import pytest

from jrt_jax.cost import feature_maps as cost_of_maps
from jrt_jax.models import feature_maps

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures('needs_torch')]

H, D = 2, 4
SETTINGS = {'degree': 3, 'offset': 0.5, 'num_features': 6}
MAPS = {name: SETTINGS for name in cost_of_maps.MAPS} | {
    'taylor_exp': {'order': 3},
    'mixture': SETTINGS | {'parts': ('mlp', 'hedgehog', 'linear')},
}


def randomized(feature_map):
  """The map with other parameters, and these by name."""
  graph, state = nnx.split(feature_map)
  rng = np.random.default_rng(1)
  state = jax.tree.map(
      lambda x: rng.standard_normal(x.shape).astype(np.float32), state
  )
  names = nnx.to_flat_state(state)
  params = {'.'.join(map(str, path)): x.get_value() for path, x in names}
  return nnx.merge(graph, state), params


@pytest.mark.parametrize('name', MAPS)
def test_weights_are_the_same(name):
  import torch

  theirs = importlib.import_module(
      'jrt_jax.interchange.remote_code.feature_maps_jrt'
  )
  ours, params = randomized(
      feature_maps.build(
          name, head_dim=D, num_heads=H, rngs=nnx.Rngs(0), **MAPS[name]
      )
  )
  settings = {'name': name, 'feature_dim': D} | MAPS[name]
  [(_, module, heads)] = theirs.build_groups(settings, H)
  assert heads == H
  assert theirs.default_normalizer(name, settings) == ours.normalizer
  assert theirs.has_own_encoder(module) == (ours.learned and not ours.draws)
  module.load_state_dict({n: torch.tensor(x) for n, x in params.items()})

  def phi(x):  # [L, H, D] to [H, L, F] of ours, and of theirs
    rows = torch.tensor(x.swapaxes(0, 1))[None]
    return np.swapaxes(ours.features(x), 0, 1), module(rows)[0].detach().numpy()

  q, k = np.random.default_rng(0).standard_normal((2, 5, H, D), np.float32)
  expected, actual = (
      np.einsum('hqf,hkf->hqk', *both) for both in zip(phi(q), phi(k))
  )
  scale = np.abs(expected).max()
  np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-5)
