import functools

import jax
import pytest

import pallas_kernels
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import chunked

STATIC = 'implementation', 'feature_map', 'normalizer', 'return_state'
CHUNKS_OF_4 = functools.partial(chunked.chunked, chunk=4)


@pytest.fixture(scope='module')
def unoptimized():
  """Saves time where compiling takes longer than running."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='module')
def op(unoptimized):
  """The compiled operation, in chunks of 4: short inputs have many of them."""

  def op(*args, **kwargs):  # a new function shares no compiled code
    with pytest.MonkeyPatch.context() as patch:
      patch.setitem(api.IMPLEMENTATIONS, 'chunked', CHUNKS_OF_4)
      return pallas_kernels.prefix_linear_attention(*args, **kwargs)

  return jax.jit(op, static_argnames=STATIC)


@pytest.fixture
def races(monkeypatch):
  """What the detector has found in each launch: it forgets earlier ones."""
  from jax._src.pallas.mosaic_gpu.interpret import gpu_callbacks

  launches = []

  class Recorded(gpu_callbacks.GPURaceDetectionState):

    def __init__(self, *args, **kwargs):
      super().__init__(*args, **kwargs)
      launches.append(self)

  monkeypatch.setattr(gpu_callbacks, 'GPURaceDetectionState', Recorded)
  yield lambda: [launch.races_found for launch in launches]
  gpu_callbacks.reset_gpu_interpret_mode_state()


@pytest.fixture
def stopped_by_race():
  """Whether the detector stops a call, as it does since jax 0.12."""

  def stopped(function, *args, **kwargs):
    try:
      function(*args, **kwargs)
    except jax.errors.JaxRuntimeError as error:
      if 'RACE DETECTED' not in str(error):
        raise
      return True
    return False

  return stopped
