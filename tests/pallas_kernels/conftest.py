import functools

import jax
import pytest

import pallas_kernels
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import chunked

STATIC = 'implementation', 'feature_map', 'normalizer', 'return_state'


@pytest.fixture(scope='module')
def op():
  """The compiled operation, in chunks of 4: short inputs have many of them."""
  chunks_of_4 = functools.partial(chunked.chunked, chunk=4)
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(api.IMPLEMENTATIONS, 'chunked', chunks_of_4)

    def op(*args, **kwargs):  # a new function shares no compiled code
      return pallas_kernels.prefix_linear_attention(*args, **kwargs)

    yield jax.jit(op, static_argnames=STATIC)
