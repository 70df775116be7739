import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib

LENGTH = 4096


def decode(q, k, v, state, change=lambda state: state, **options):
  """Steps over [B, L, H, ...]; `change` is what storing does to the state."""

  def step(state, token):
    y, state = pallas_kernels.prefix_linear_attention_step(
        *token, state, **options
    )
    return change(state), y

  tokens = [jnp.moveaxis(x, 1, 0) for x in (q, k, v)]
  state, y = lax.scan(step, state, tokens)
  return jnp.moveaxis(y, 0, 1), state


@pytest.mark.parametrize('normalizer', inputs_lib.NORMALIZERS)
@pytest.mark.parametrize('feature_map', ['taylor_exp', 'identity'])
def test_steps_are_one_call(op, feature_map, normalizer):
  options = {'feature_map': feature_map, 'normalizer': normalizer}
  inputs = testing.make_inputs(
      feature_map=feature_map, positive=normalizer == 'sum'
  )
  arrays = [inputs[name] for name in 'qkv']

  @jax.jit
  def both(*arrays, state):
    at_once = op(*arrays, initial_state=state, return_state=True, **options)
    return at_once, decode(*arrays, state, **options)

  at_once, stepwise = both(*arrays, state=inputs['initial_state'])
  testing.assert_close(stepwise, at_once, 1e-5)


@pytest.fixture(scope='module')
def long_row():
  """A bfloat16 row and the last outputs in float64."""
  inputs = testing.make_inputs(
      B=1, L=LENGTH, P=0, H=1, D=16, V=8, dtype='bfloat16'
  )
  q, k, v = (np.asarray(inputs[n][0, :, 0], np.float64) for n in 'qkv')
  s = q[-64:] @ k.T / 4
  weights = (1 + s + s**2 / 2) * np.tri(LENGTH)[-64:]
  expected = weights @ v / weights.sum(axis=1, keepdims=True)
  return [inputs[name] for name in 'qkv'], expected


def test_a_float32_state_is_accurate_where_a_bfloat16_one_is_not(long_row):
  inputs, expected = long_row
  zero = pallas_kernels.zero_state(1, 1, 16, 8, 'taylor_exp')
  rounded = lambda state: jax.tree.map(
      lambda x: lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7), state
  )
  errors = [
      testing.relative_error(
          jax.jit(functools.partial(decode, **kept))(*inputs, zero)[0][
              0, -64:, 0
          ],
          expected,
      )
      for kept in ({}, {'change': rounded})
  ]
  assert errors[0] <= 1e-2 < 0.5 < errors[1]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'feature_map': 'exp'}, "^feature_map must be one of .*, got 'exp'"),
        ({'normalizer': 'l2'}, "^normalizer must be one of .*, got 'l2'"),
        (
            {'q': jnp.ones((2, 4))},
            r'^q must have shape \[B, H, D\], got \[2, 4',
        ),
        ({'k': jnp.ones((2, 1, 4))}, r'^k must have shape \[2, 2, 4\], got'),
        ({'v': jnp.ones((2, 1, 3))}, r'^v must have shape \[2, 2, V\], got'),
        ({'v': jnp.ones((2, 2, 5))}, r'^state.kv must have shape .* 5\], got'),
        (
            {'feature_map': 'identity'},
            r'^state.kv must have shape \[2, 2, 4, 3',
        ),
    ],
)
def test_bad_arguments_are_named(change, message):
  inputs = testing.make_inputs()
  arguments = {name: inputs[name][:, 0] for name in 'qkv'}
  arguments |= {'state': inputs['initial_state']} | change
  with pytest.raises(ValueError, match=message):
    pallas_kernels.prefix_linear_attention_step(**arguments)


def test_a_state_of_an_unknown_map_is_refused():
  with pytest.raises(ValueError, match="^feature_map must be .*, got 'exp'"):
    pallas_kernels.zero_state(1, 1, 4, 3, 'exp')
