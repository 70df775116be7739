"""Four views of the operation agree: values, states and every gradient."""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import feature_maps
from pallas_kernels import testing

B, L, P = 3, 13, 8
SPLIT = 9  # where a chained call ends: no multiple of the chunk, 4

PREFIXES = {
    'none': [0, 0, 0],
    'one': [1, 1, 1],
    'odd': [3, 5, 7],
    'aligned': [4, 4, 8],
    'full': [8, 8, 8],
    'mixed': [0, 3, 8],
}

# Documents in a row; none begins at the split, where the state goes on.
SEGMENTS = [[8] * 7 + [7] * 4 + [8] * 2, [3] * 8 + [0] * 5, [1] * 13]

MASKS = [
    [0, 0, 0] + [1] * 10,  # padded on the left
    [1] * 11 + [0, 0],  # on the right
    [1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1],  # inside
]


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


def quadratic(op, **arguments):
  return op(**arguments, implementation='reference', return_state=True)


def chunked(op, **arguments):
  return op(**arguments, implementation='chunked', return_state=True)


def chained(op, *, k_enc, v_enc, prefix_len, initial_state, **arguments):
  """Two calls, the second of which continues from the state of the first."""
  is_array = lambda name: not isinstance(arguments[name], str)
  options = {n: x for n, x in arguments.items() if not is_array(n)}
  head = {n: arguments[n][:, :SPLIT] for n in filter(is_array, arguments)}
  tail = {n: arguments[n][:, SPLIT:] for n in filter(is_array, arguments)}
  head |= {'k_enc': k_enc, 'v_enc': v_enc, 'prefix_len': prefix_len}
  y_head, state = chunked(op, **head, initial_state=initial_state, **options)
  y_tail, state = chunked(op, **tail, initial_state=state, **options)
  return jnp.concatenate([y_head, y_tail], axis=1), state


def recurrent(
    op,
    *,
    q,
    k,
    v,
    k_enc,
    v_enc,
    prefix_len,
    initial_state,
    segment_ids,
    mask,
    **options,
):
  """Reads the prefix, then one document without gaps, token by token."""
  del op, segment_ids, mask
  step = functools.partial(
      pallas_kernels.prefix_linear_attention_step, **options
  )

  def read(state, xs):
    j, k, v = xs
    is_prefix = j < prefix_len
    keep = lambda new, old: jax.vmap(jnp.where)(is_prefix, new, old)
    return jax.tree.map(keep, step(k, k, v, state)[1], state), None

  def write(state, xs):
    y, state = step(*xs, state)
    return state, y

  by_token = lambda *xs: [jnp.moveaxis(x, 1, 0) for x in xs]
  xs = (jnp.arange(P), *by_token(k_enc, v_enc))
  state, _ = lax.scan(read, initial_state, xs)
  state, y = lax.scan(write, state, by_token(q, k, v))
  return jnp.moveaxis(y, 0, 1), state


@pytest.fixture(scope='module')
def evaluate(op):
  """Outputs, state and gradients of a view, compiled once."""

  @functools.partial(jax.jit, static_argnums=(0, 1, 2))
  def evaluate(view, feature_map, normalizer, arguments):
    options = {'feature_map': feature_map, 'normalizer': normalizer}
    function = functools.partial(view, op, **options)
    return testing.outputs_and_gradients(function, arguments)

  return evaluate


def make_inputs(prefix, **kwargs):
  return testing.make_inputs(B=B, L=L, P=P, **kwargs) | {
      'prefix_len': np.int32(PREFIXES[prefix]),
      'segment_ids': np.zeros((B, L), np.int32),
      'mask': np.ones((B, L), bool),
  }


def in_float32(arguments):
  """The same numbers, where they were rounded to bfloat16."""
  is_low = lambda x: x.dtype == jnp.bfloat16
  return jax.tree.map(
      lambda x: x.astype('float32') if is_low(x) else x, arguments
  )


def views(*names):
  """Both dtypes of each view; but for the first, bfloat16 is slow."""
  return pytest.mark.parametrize(
      'view, dtype',
      [(names[0], 'bfloat16')]
      + [(view, 'float32') for view in names]
      + [
          pytest.param(view, 'bfloat16', marks=pytest.mark.slow)
          for view in names[1:]
      ],
  )


@pytest.mark.parametrize('prefix', PREFIXES)
@views(chunked, chained, recurrent)
def test_views_agree(evaluate, view, dtype, prefix):
  inputs = make_inputs(prefix, dtype=dtype)
  actual = evaluate(view, 'taylor_exp', 'sum', inputs)
  expected = evaluate(quadratic, 'taylor_exp', 'sum', in_float32(inputs))
  testing.assert_close(actual, expected, testing.TOLERANCE[dtype])


@pytest.mark.parametrize('rows', ['packed', 'masked', 'packed and masked'])
@views(chunked, chained)
def test_views_agree_on_packed_and_masked_rows(evaluate, view, dtype, rows):
  inputs = make_inputs('odd', dtype=dtype)
  if 'packed' in rows:
    inputs['segment_ids'] = np.int32(SEGMENTS)
  if 'masked' in rows:
    inputs['mask'] = np.asarray(MASKS, bool)
  actual = evaluate(view, 'taylor_exp', 'sum', inputs)
  expected = evaluate(quadratic, 'taylor_exp', 'sum', in_float32(inputs))
  testing.assert_close(actual, expected, testing.TOLERANCE[dtype])


@pytest.mark.parametrize('normalizer', ['sum', 'clamp', 'none'])
@pytest.mark.parametrize('feature_map', ['taylor_exp', 'identity'])
def test_every_map_and_normalizer_agrees(evaluate, feature_map, normalizer):
  positive = normalizer == 'sum'
  inputs = make_inputs('mixed', feature_map=feature_map, positive=positive)
  actual = evaluate(chunked, feature_map, normalizer, inputs)
  expected = evaluate(quadratic, feature_map, normalizer, inputs)
  testing.assert_close(actual, expected, testing.TOLERANCE['float32'])


# Other degrees differ by what `feature_maps_test` knows.
@pytest.mark.parametrize(
    'feature_map, normalizer',
    [
        (feature_maps.polynomial(2, 0.5), 'clamp'),
        slow(feature_maps.symmetric_power(3), 'none'),
        slow(feature_maps.taylor_exp(4), 'sum'),
        slow(feature_maps.taylor_exp(3), 'clamp'),
        slow(feature_maps.symmetric_power(2), 'none'),
    ],
    ids=str,
)
def test_every_closed_form_agrees(evaluate, feature_map, normalizer):
  inputs = make_inputs('mixed', feature_map=feature_map)
  actual = evaluate(chunked, feature_map, normalizer, inputs)
  expected = evaluate(quadratic, feature_map, normalizer, inputs)
  testing.assert_close(actual, expected, testing.TOLERANCE['float32'])


def test_gradients_are_finite_where_weights_vanish(evaluate):
  inputs = make_inputs('mixed', feature_map='identity', positive=True)
  inputs['q'] = inputs['q'] * np.float32([0, 1e-30, 1e-13])[:, None, None, None]
  for view in (chunked, quadratic):
    (y, _), grads = evaluate(view, 'identity', 'sum', inputs)
    assert not np.any(y[0])
    for x in jax.tree.leaves((y, grads)):
      assert np.isfinite(x).all()
