"""Which functions can be executed; what they compute is in tests/aot."""

import jax
import jax.numpy as jnp
import pytest

from pallas_kernels.prefix_linear_attention import mosaic_sm90_state
import ptx

needs_mosaic = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)


@needs_mosaic
def test_a_kernel_in_a_loop_is_refused_before_anything_is_compiled():
  k = jax.ShapeDtypeStruct((3, 1, 128, 1, 16), jnp.bfloat16)
  v = jax.ShapeDtypeStruct((3, 1, 128, 1, 64), jnp.bfloat16)
  lengths = jax.ShapeDtypeStruct((3, 1), jnp.int32)
  loop = lambda *xs: jax.lax.map(
      lambda x: mosaic_sm90_state.final_state(*x), xs
  )
  with pytest.raises(NotImplementedError, match='must not be inside scan'):
    ptx.Executable(loop, k, v, lengths)


def test_a_function_without_kernels_is_computed_by_jax():
  executable = ptx.Executable(lambda x: {'twice': 2 * x['x']}, {'x': 1.0})
  assert not executable.kernels
  assert executable({'x': jnp.float32(3)}) == {'twice': 6}


@pytest.mark.parametrize(
    'argument, message',
    [
        (jnp.ones((2, 4)), r'must be float32\[2, 3\], is float32\[2, 4\]'),
        (jnp.ones((2, 3), int), r'must be float32\[2, 3\], is int32\[2, 3\]'),
        ((jnp.ones((2, 3)),), 'arguments must be PyTreeDef'),
    ],
)
def test_arguments_that_nothing_was_compiled_for_are_refused(argument, message):
  executable = ptx.Executable(jnp.sum, jnp.ones((2, 3)))
  with pytest.raises(ValueError, match=message):
    executable(argument)
