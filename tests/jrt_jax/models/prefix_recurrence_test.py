"""Gated DeltaNet and Mamba-2 that read a prefix; models_test.py has what they see."""

import functools

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models.context import Context
from jrt_jax.models.gated_delta_net import gdn
from jrt_jax.models.gated_delta_net import prefix_gdn
from jrt_jax.models.mamba2 import mamba2
from jrt_jax.models.mamba2 import prefix_mamba2
from jrt_jax.models.prefix_recurrence import PASSES

B, L, E = 3, 12, 16
LENGTHS = np.array([9, 4, 0])  # of prefixes
TWINS = {prefix_gdn: gdn, prefix_mamba2: mamba2}

of_each_mixer = pytest.mark.parametrize('function', TWINS)
with_each_order = pytest.mark.parametrize('passes', PASSES)


@pytest.fixture
def make(make_build, tiny_config):
  def make(function, passes='forward'):
    config = tiny_config()
    config['gdn'] = {**config['gdn'], 'prefix_passes': passes}
    return function(make_build(rngs=nnx.Rngs(3)), config)

  return make


@pytest.fixture
def x():
  return np.random.default_rng(0).standard_normal((B, L, E), np.float32)


def assert_close(actual, expected):
  check = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
  jax.tree.map(check, actual, expected)


def read(mixer, x, **context):
  """Returns the outputs [B, L, E] and the state of rows [B, L, E]."""
  forward = jax.jit(
      lambda x: mixer(x, Context(*x.shape[:2], **context), return_state=True)
  )
  return forward(x)


@of_each_mixer
def test_without_a_prefix_it_is_the_causal_mixer_of_the_same_weights(
    make, x, function
):
  mixer, causal = make(function), make(TWINS[function])
  own = dict(nnx.to_flat_state(nnx.state(mixer)))
  shared = dict(nnx.to_flat_state(nnx.state(causal)))
  nnx.update(causal, nnx.from_flat_state([(k, own[k]) for k in shared]))
  encoder = {'.'.join(map(str, path)) for path in own.keys() - shared.keys()}
  assert encoder and all('_enc.' in name for name in encoder)
  expected = read(causal, x)
  assert_close(read(mixer, x), expected)
  nothing = jnp.zeros(B, jnp.int32)
  assert_close(read(mixer, x, prefix_capacity=5, prefix_len=nothing), expected)


@of_each_mixer
@with_each_order
@pytest.mark.parametrize('block', [2, 5])  # shorter and longer than the taps
def test_a_prefix_that_comes_in_blocks_is_the_same_prefix(
    make, x, function, passes, block
):
  mixer = make(function, passes)
  expected = read(mixer, x, prefix_capacity=10, prefix_len=LENGTHS)

  @jax.jit
  def in_blocks(x):
    split = lambda x: jnp.moveaxis(x.reshape(B, -1, block, *x.shape[2:]), 1, 0)
    mask = np.arange(10) < LENGTHS[:, None]
    nothing = jax.tree.map(jnp.zeros_like, expected[1])
    state = mixer.read_prefix(split(x[:, :10]), split(mask), nothing)
    return mixer(x, Context(B, L), state=state, return_state=True)

  assert_close(in_blocks(x), expected)


@of_each_mixer
def test_a_further_prefix_sees_what_was_read_and_is_seen(make, x, function):
  mixer = make(function)
  _, state = read(mixer, x)
  context = Context(B, L, prefix_capacity=L)

  def outputs(x, state):
    return mixer(x, context, state=state)[:, 0].sum()

  by_token, by_state = jax.jit(jax.grad(outputs, (0, 1)))(x, state)
  assert (abs(by_token).max(axis=-1) > 0).all()
  assert (abs(by_state.memory).max(axis=(-1, -2)) > 0).all()


def test_a_pass_reads_backwards_what_is_convolved_forwards(make, x):
  def memory(passes, x, *, convolved=False):
    mixer = make(prefix_gdn, passes)
    if not convolved:  # the last tap is on the token itself
      for conv in (mixer.conv_k_enc, mixer.conv_v_enc):
        conv.kernel[...] = jnp.zeros_like(conv.kernel).at[-1].set(1)
    mask = jnp.ones((1, *x.shape[:2]), bool)
    state = read(mixer, x)[1]
    nothing = jax.tree.map(jnp.zeros_like, state)
    return jax.jit(mixer.read_prefix)(x[None], mask, nothing).memory

  backwards = x[:, ::-1]
  there_and_back = np.concatenate([x, backwards], axis=1)
  assert_close(memory('reversed', x), memory('forward', backwards))
  assert_close(memory('both', x), memory('forward', there_and_back))
  for convolved, other in ((False, x), (True, backwards)):
    differs = memory('reversed', x, convolved=convolved)
    differs -= memory('forward', other, convolved=convolved)
    assert abs(differs).max() > 1e-2
