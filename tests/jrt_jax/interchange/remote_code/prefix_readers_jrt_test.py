"""Readers of a prefix in PyTorch are ours."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models import prefix_readers
import pallas_kernels

pytestmark = [pytest.mark.hf, pytest.mark.usefixtures('needs_torch')]

B, H, V = 2, 2, 3


@pytest.fixture
def theirs():
  return importlib.import_module(
      'jrt_jax.interchange.remote_code.prefix_readers_jrt'
  )


@pytest.mark.parametrize('F', [5, 250])
@pytest.mark.parametrize('name', prefix_readers.READERS)
def test_states_are_the_same_at_any_strength(theirs, name, F):
  import torch

  rng = np.random.default_rng(0)
  phi = rng.standard_normal((B, H, 4 * F, F), np.float32)
  v = rng.standard_normal((B, H, 4 * F, V), np.float32)
  phi[1, 1] = 0  # as in an empty prefix
  kk, kv = (phi.swapaxes(2, 3) @ x for x in (phi, v))
  ours, module = prefix_readers.READERS[name](H), theirs.READERS[name](H)
  np.testing.assert_allclose(module.log_strength, ours.log_strength[...])
  for log_strength in ([-100.0, 1.0], [1.0, -3.0]):
    ours.log_strength[...] = jnp.array(log_strength)
    module.log_strength.copy_(torch.tensor(log_strength))
    sums = pallas_kernels.PrefixSums(jnp.asarray(kk), jnp.asarray(kv))
    expected = np.asarray(ours.state(sums).kv)
    actual = module(torch.tensor(kk), torch.tensor(kv)).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-5)
    assert not actual[1, 1].any()


def test_sums_are_exact_under_autocast(theirs):
  import torch

  phi, v = (
      torch.tensor(np.random.default_rng(1).standard_normal((B, H, 9, n)))
      for n in (5, V)
  )
  readers = [make(H) for make in theirs.READERS.values()]
  with torch.autocast('cpu', dtype=torch.bfloat16):
    sums = theirs.RidgePrefix.read((0, 0), phi, v)
    states = [reader(*sums) for reader in readers]
  for state, reader in zip(states, readers):
    torch.testing.assert_close(state, reader(*sums))
  for actual, x in zip(sums, (phi, v)):
    torch.testing.assert_close(actual, (phi.mT @ x).float())
