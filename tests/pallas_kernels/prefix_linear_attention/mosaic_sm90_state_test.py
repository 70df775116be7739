"""The Hopper kernel that only sums up a state, in the interpreter."""

import functools

import jax
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import chunked_sums
from pallas_kernels.prefix_linear_attention import feature_maps
from pallas_kernels.prefix_linear_attention import mosaic_sm90
from pallas_kernels.prefix_linear_attention import mosaic_sm90_limits as limits
from pallas_kernels.prefix_linear_attention import mosaic_sm90_state as module
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels.prefix_linear_attention import roll_features

pytestmark = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)
ONE_TILE = dict(V=64, L=640, lengths=[610, 0])
TWO_TILES = dict(V=112, L=256, lengths=[256, 130])


def expected(k, v, lengths):
  k, v = (np.asarray(x, np.float64) for x in (k, v))
  inside = np.arange(k.shape[1])[None, :] < lengths[:, None]
  with jax.enable_x64(True):
    phi = np.asarray(roll_features.features(jnp.asarray(k), query=False))
  phi = phi * inside[..., None, None]
  kv_t = np.einsum('blhv,blhf->bhvf', v, phi)
  return kv_t, np.einsum('blhf,blhg->bhfg', phi[..., :64], phi[..., :32])


@pytest.mark.parametrize(
    'sizes', [ONE_TILE, pytest.param(TWO_TILES, marks=pytest.mark.slow)]
)
def test_the_state_is_the_sum_over_the_tokens_that_count(sizes, races):
  lengths = np.int32(sizes['lengths'])
  x = testing.make_inputs(
      B=2, L=sizes['L'], H=1, D=16, V=sizes['V'], dtype='bfloat16'
  )
  state = module.final_state(
      x['k'],
      x['v'],
      lengths,
      interpret=plgpu.InterpretGPUParams(detect_races=True),
  )
  assert races() == [False]
  kv_t, gram = expected(x['k'], x['v'], lengths)
  testing.assert_close(state[0], kv_t, 5e-3)
  testing.assert_close(roll_corner(state[1]), roll_corner(gram), 1e-5)


@pytest.mark.parametrize(
    'plain', [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_sums_over_keys_and_values_and_their_gradients_are_those_of_chunks(
    plain,
):
  x = testing.make_inputs(B=2, L=200, H=1, D=16, V=64, dtype='bfloat16')
  mask = np.arange(200) < np.array([[200], [70]])
  if not plain:
    mask &= np.random.default_rng(0).random((2, 200)) < 0.7
  options = {'plain': plain, 'feature_map': feature_maps.taylor_exp()}
  two_segments = mosaic_sm90_tiles.Tiles(segment_chunks=1)
  kernels = functools.partial(
      mosaic_sm90.sums,
      mask=mask,
      tiles=two_segments,
      interpret=plgpu.InterpretGPUParams(),
      **options,
  )
  chunks = functools.partial(chunked_sums.sums, mask=mask, **options)
  arrays = {'k': jnp.asarray(x['k']), 'v': jnp.asarray(x['v'])}
  exact = {name: x.astype('float32') for name, x in arrays.items()}
  actual = testing.outputs_and_gradients(kernels, arrays)
  expected = testing.outputs_and_gradients(chunks, exact)
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


def roll_corner(gram):
  """What of `gram` counts: sums of k kᵀ, k and 1."""
  rows = [*range(16), roll_features.CONSTANT]
  return np.asarray(gram)[..., rows, :][..., rows]


@pytest.mark.parametrize('V', [64, 112, 128])
def test_it_lowers_for_cuda_and_fits_in_shared_memory(V):
  limits.check_shared_memory(module.make_scratch(V))
  bf16 = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.bfloat16)
  arguments = bf16(2, 256, 2, 16), bf16(2, 256, 2, V)
  lengths = jax.ShapeDtypeStruct((2,), jnp.int32)
  function = jax.jit(module.final_state)
  lowered = function.trace(*arguments, lengths).lower(
      lowering_platforms=('cuda',)
  )
  assert 'mosaic_gpu' in lowered.as_text()
