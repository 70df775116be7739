import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import feature_maps
from pallas_kernels import testing


def decode(q, k, v, state, store=lambda state: state, **options):
  """Steps over [B, L, H, ...]; `store` gives the state that the next reads."""

  def step(state, token):
    y, state = pallas_kernels.prefix_linear_attention_step(
        *token, state, **options
    )
    return store(state), y

  state, y = lax.scan(step, state, [jnp.moveaxis(x, 1, 0) for x in (q, k, v)])
  return jnp.moveaxis(y, 0, 1), state


@pytest.mark.parametrize(
    ('feature_map', 'normalizer'),
    [
        ('taylor_exp', 'sum'),
        (feature_maps.symmetric_power(3), 'clamp'),
        ('identity', 'none'),
    ],
)
def test_steps_are_one_call(op, feature_map, normalizer):
  options = {'feature_map': feature_map, 'normalizer': normalizer}
  inputs = testing.make_inputs(feature_map=feature_map)
  arrays = [inputs[name] for name in 'qkv']

  @jax.jit
  def both(*arrays, state):
    at_once = op(*arrays, initial_state=state, return_state=True, **options)
    return at_once, decode(*arrays, state, **options)

  at_once, stepwise = both(*arrays, state=inputs['initial_state'])
  testing.assert_close(stepwise, at_once, 1e-5)


def in_bfloat16(state):
  """Rounded as by storing it; a cast there and back could be removed."""
  return jax.tree.map(lambda x: lax.reduce_precision(x, 8, 7), state)


def test_a_float32_state_is_accurate_where_a_bfloat16_one_is_not():
  length, last = 4096, 64
  inputs = testing.make_inputs(
      B=1, L=length, P=0, H=1, D=16, V=8, dtype='bfloat16'
  )
  inputs = [inputs[name] for name in 'qkv']
  q, k, v = (np.asarray(x[0, :, 0], np.float64) for x in inputs)
  s = q[-last:] @ k.T / 4
  weights = (1 + s + s**2 / 2) * np.tri(length)[-last:]
  expected = weights @ v / weights.sum(axis=1, keepdims=True)

  def error(store):
    state = pallas_kernels.zero_state(1, 1, 16, 8, 'taylor_exp')
    y, _ = jax.jit(functools.partial(decode, store=store))(*inputs, state)
    return testing.relative_error(y[0, -last:, 0], expected)

  assert error(lambda state: state) <= testing.TOLERANCE['bfloat16']
  assert error(in_bfloat16) > 0.5


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'feature_map': 'exp'}, "^feature_map must be one of .*, got 'exp'"),
        (
            {'feature_map': feature_maps.symmetric_power(2)},
            "^normalizer must be 'clamp' or 'none' .* got 'sum'",
        ),
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
