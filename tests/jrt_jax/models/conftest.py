"""What the modules of a small model are built with."""

from flax import nnx
import pytest

from jrt_jax.models import layers


@pytest.fixture
def make_build():
  """A function that returns what modules are built with."""

  def make(**overrides):
    defaults = {
        'width': 16,
        'num_layers': 1,
        'dtype': 'float32',
        'residual_dtype': 'float32',
        'norm_eps': 1e-5,
        'init_std': 0.3,
        'rngs': nnx.Rngs(0),
    }
    return layers.make_build(**defaults | overrides)

  return make
