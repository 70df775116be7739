import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.models.block import Block
from jrt_jax.models.block import REMAT_POLICIES
from jrt_jax.models.context import Context

L, E = 64, 16
MIXERS = 'conv', 'pla', 'swa', 'la', 'attention'


@pytest.fixture
def make_block(make_build, tiny_config):

  def make(mixer, dtype='float32', residual_dtype='float32'):
    build = make_build(width=E, dtype=dtype, residual_dtype=residual_dtype)
    return Block(build, mixer, tiny_config(width=E))

  return make


def context(B):
  return Context(
      B, L, prefix_capacity=L // 2, prefix_len=jnp.full(B, L // 3, jnp.int32)
  )


def test_recomputing_saves_memory_and_changes_no_gradient(tiny_config):
  tokens = jax.random.randint(jax.random.key(0), (2, L), 0, 20)
  gradients, temp = {}, {}
  for remat in REMAT_POLICIES:
    config = tiny_config(
        mixers=('conv', 'pla', 'conv'), mlp_width=64, remat=remat
    )
    merge, params = models.split(models.build(config))

    @jax.jit
    @jax.grad
    def gradient(params):
      hidden = merge(params).hidden(tokens, prefix_len=jnp.array([L // 2, 3]))
      return jnp.sum(hidden[..., 0])

    compiled = gradient.lower(params).compile()
    gradients[remat] = compiled(params)
    temp[remat] = compiled.memory_analysis().temp_size_in_bytes
  for remat in REMAT_POLICIES:
    for name, expected in gradients['none'].items():
      np.testing.assert_allclose(
          gradients[remat][name], expected, rtol=1e-3, atol=1e-4
      )
  assert max(temp['full'], temp['dots']) < temp['none']


@pytest.mark.parametrize('residual_dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('mixer', MIXERS)
def test_the_residual_stream_keeps_its_dtype(make_block, mixer, residual_dtype):
  block = make_block(mixer, 'bfloat16', residual_dtype)
  x = jnp.zeros((2, L, E), residual_dtype)
  assert jax.eval_shape(lambda: block(x, context(2))).dtype == x.dtype
  y, state = jax.eval_shape(lambda: block.prefill(x, context(2)))
  assert y.dtype == x.dtype
  y, following = jax.eval_shape(lambda state: block.step(x[:, 0], state), state)
  assert y.dtype == x.dtype
  assert following == state  # dtypes too


@pytest.mark.parametrize('mixer', MIXERS)
def test_the_mixer_and_the_mlp_compute_in_the_dtype_of_the_config(
    make_block, mixer
):
  block = make_block(mixer, dtype='bfloat16')
  x = block.mixer_norm(jnp.zeros((2, L, E)))
  y = jax.eval_shape(lambda x: block.mixer(x, context(2)), x)
  assert x.dtype == jnp.bfloat16
  assert y.dtype == block.mlp(x).dtype == jnp.float32  # to be added


def test_a_block_adds_its_mixer_and_then_its_mlp(make_block):
  block = make_block('conv')
  x = jax.random.normal(jax.random.key(0), (2, L, E))
  middle = x + block.mixer(block.mixer_norm(x), context(2))
  expected = middle + block.mlp(block.mlp_norm(middle))
  np.testing.assert_allclose(block(x, context(2)), expected, rtol=1e-5)
