import jax
import numpy as np
import pytest

from jrt_jax.models.base_conv import BaseConv
from jrt_jax.models.context import Context

B, L, E = 2, 7, 6


@pytest.fixture
def make_mixer(make_build):

  def make(kernel=3, expand=4):
    return BaseConv(make_build(width=E), kernel=kernel, expand=expand)

  return make


@pytest.fixture
def x():
  return jax.random.normal(jax.random.key(0), (B, L, E))


@pytest.mark.parametrize('kernel, expand', [(3, 4), (2, 4), (4, 2)])
def test_output_is_a_gated_convolution_with_zeros_before_the_row(
    make_mixer, kernel, expand, x
):
  mixer = make_mixer(kernel, expand)
  inner = expand * E // 2
  u, gate = map(np.asarray, mixer.in_proj(x))
  taps = np.asarray(mixer.conv.kernel)
  assert taps.shape == (kernel, inner)
  convolved = np.zeros_like(u)
  for b, channel in np.ndindex(B, inner):
    # The last tap is for the token itself.
    filtered = np.convolve(u[b, :, channel], taps[::-1, channel])
    convolved[b, :, channel] = filtered[:L]
  expected = mixer.out_proj(jax.nn.silu(convolved) * gate)
  actual = mixer(x, Context(B, L))
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('kernel', [2, 3, 4])
def test_the_state_is_the_end_of_what_is_convolved(make_mixer, kernel, x):
  mixer = make_mixer(kernel)
  u = np.asarray(mixer.in_proj(x)[0])
  _, state = mixer(x, Context(B, L), return_state=True)
  np.testing.assert_array_equal(state, u[:, L - kernel + 1 :])


def test_the_state_of_a_short_row_starts_with_zeros(make_mixer, x):
  _, state = make_mixer()(x[:, :1], Context(B, 1), return_state=True)
  assert state.shape == (B, 2, 2 * E)
  assert not state[:, 0].any() and state[:, 1].all()


@pytest.mark.parametrize('split', [1, 2, 4])
def test_two_calls_chained_by_the_state_are_one_call(make_mixer, x, split):
  mixer = make_mixer(kernel=4)
  whole, end = mixer(x, Context(B, L), return_state=True)
  before, state = mixer(x[:, :split], Context(B, split), return_state=True)
  after, last = mixer(
      x[:, split:], Context(B, L - split), state=state, return_state=True
  )
  both = np.concatenate([before, after], axis=1)
  np.testing.assert_allclose(both, whole, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(last, end, rtol=1e-5, atol=1e-6)


def test_a_step_drops_the_oldest_token_of_the_state(make_mixer, x):
  mixer = make_mixer()
  _, state = mixer(x[:, :4], Context(B, 4), return_state=True)
  _, following = mixer.step(x[:, 4], state)
  np.testing.assert_array_equal(following[:, 0], state[:, 1])
