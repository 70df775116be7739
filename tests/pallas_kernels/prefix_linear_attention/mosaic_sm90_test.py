"""The Hopper kernels behind the public operation, in the interpreter."""

import functools

import jax
from jax.experimental.pallas import mosaic_gpu as plgpu
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import feature_maps
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import mosaic_sm90
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles

needs_mosaic = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)
SIZES = {'D': 16, 'V': 64, 'dtype': 'bfloat16'}
FLOAT32 = {'dtype': 'float32'}
KERNELS = 'mosaic_sm90'


@pytest.fixture
def interpreted(monkeypatch):
  interpreted = functools.partial(
      mosaic_sm90.mosaic_sm90, interpret=plgpu.InterpretGPUParams()
  )
  monkeypatch.setitem(api.IMPLEMENTATIONS, KERNELS, interpreted)


@pytest.fixture
def detecting_races(monkeypatch, races):
  """The same with the detector; says what it has found in each launch."""
  detect = plgpu.InterpretGPUParams(detect_races=True)
  interpreted = functools.partial(mosaic_sm90.mosaic_sm90, interpret=detect)
  monkeypatch.setitem(api.IMPLEMENTATIONS, KERNELS, interpreted)
  return races


def evaluate(inputs, implementation, **options):
  """Outputs, state and gradients of all floats, with random cotangents."""
  inputs = jax.tree.map(jnp.asarray, inputs)
  prefix_len = inputs.pop('prefix_len')
  op = functools.partial(
      pallas_kernels.prefix_linear_attention,
      prefix_len=prefix_len,
      return_state=True,
      implementation=implementation,
      **options,
  )

  @jax.jit
  def value_and_gradients(inputs):
    (y, state), vjp = jax.vjp(lambda x: op(**x), inputs)
    rng = np.random.default_rng(1)
    cotangents = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), (y, state)
    )
    return {'y': y, 'state': state, 'gradients': vjp(cotangents)[0]}

  return value_and_gradients(inputs)


def exactly(inputs):
  """The same numbers in float32."""
  return {
      name: jax.tree.map(lambda x: np.asarray(x, np.float32), x)
      if name != 'prefix_len'
      else x
      for name, x in inputs.items()
  }


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


def ids(*lengths):
  """Segment ids of documents of these lengths."""
  return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


# What rows of 300 tokens look like, and how long their prefixes are: borders of
# documents inside chunks of 128 tokens and between them, and whole chunks that
# are one document.
PACKED = ids(130, 50, 76, 44), ids(50, 78, 128, 44)
HOLES = np.random.default_rng(2).random((2, 300)) > 0.2
LEFT_AND_RIGHT = np.arange(300) >= [[140], [0]]
LEFT_AND_RIGHT &= np.arange(300) < [[300], [200]]


@needs_mosaic
@pytest.mark.parametrize(
    'documents, mask, prefix, segments',
    [
        (PACKED, None, (100, 40), 1),
        slow(None, LEFT_AND_RIGHT, (0, 128), 1),
        slow(PACKED, HOLES, None, 1),
        slow(PACKED, HOLES, (100, 40), 3),
    ],
)
def test_documents_and_padding_are_those_of_the_definition(
    detecting_races, documents, mask, prefix, segments
):
  inputs = testing.make_inputs(B=2, L=300, P=128, H=1, **SIZES)
  inputs['prefix_len'] = np.int32(prefix or (0, 0))
  if prefix is None:
    del inputs['k_enc'], inputs['v_enc']
  options = {'mask': mask, 'segment_ids': documents and np.stack(documents)}
  tiles = mosaic_sm90_tiles.Tiles(segment_chunks=3 // segments)
  actual = evaluate(inputs, KERNELS, tiles=tiles, **options)
  assert detecting_races() and not any(detecting_races())
  expected = evaluate(exactly(inputs), 'reference', **options)
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


@needs_mosaic
@pytest.mark.parametrize('mask', [None, slow(HOLES[:, :130])])
def test_documents_with_a_prefix_each_are_those_of_the_definition(
    detecting_races, mask
):
  inputs = testing.make_inputs(B=2, L=130, P=130, H=1, **SIZES)
  inputs['prefix_len'] = None
  rows = ids(50, 60, 20), ids(1, 127, 2)
  first = np.stack([np.searchsorted(row, row) for row in rows])
  options = {
      'segment_ids': np.stack(rows),
      'prefix_mask': np.arange(130) - first < [[30], [100]],
      'mask': mask,
  }
  actual = evaluate(inputs, KERNELS, **options)
  assert detecting_races() and not any(detecting_races())
  expected = evaluate(exactly(inputs), 'reference', **options)
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


@needs_mosaic
def test_a_prefix_with_gaps_is_that_of_the_definition(interpreted):
  inputs = testing.make_inputs(B=1, L=128, P=128, H=1, **SIZES)
  del inputs['prefix_len']
  op = functools.partial(
      pallas_kernels.prefix_linear_attention,
      prefix_mask=np.arange(128)[None] % 3 == 0,
      return_state=True,
  )
  actual = op(**inputs, implementation=KERNELS)
  expected = op(**exactly(inputs), implementation='reference')
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


@needs_mosaic
@pytest.mark.parametrize(
    'normalizer, documents',
    [
        # The first token of a document often has a weight of less than 1.
        ('clamp', [ids(1, 2, 1, 125, 1)]),
        slow('clamp', None),
        slow('none', None),
    ],
)
def test_normalizers_are_those_of_the_definition(
    interpreted, normalizer, documents
):
  B = len(documents) if documents else 2
  inputs = testing.make_inputs(B=B, L=130, P=0, H=1, **SIZES)
  for name in 'k_enc', 'v_enc', 'initial_state':
    del inputs[name]
  options = {'normalizer': normalizer}
  if documents:
    options['segment_ids'] = np.stack(documents)
  actual = evaluate(inputs, KERNELS, **options)
  expected = evaluate(exactly(inputs), 'reference', **options)
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


@needs_mosaic
@pytest.mark.parametrize('P', [slow(150), slow(0)])
def test_outputs_states_and_gradients_are_those_of_the_definition(
    interpreted, P
):
  inputs = testing.make_inputs(B=2, L=200, P=P, H=1, **SIZES)
  inputs['prefix_len'] = np.int32([P, P // 50])
  tiles = mosaic_sm90_tiles.Tiles(segment_chunks=2)  # one segment
  actual = evaluate(inputs, KERNELS, tiles=tiles)
  expected = evaluate(exactly(inputs), 'reference')
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


@needs_mosaic
@pytest.mark.parametrize(
    'L, P, count', [(200, 150, 2), slow(700, 300, 3), slow(256, 0, 2)]
)
def test_in_segments_a_sequence_gives_the_same(interpreted, L, P, count):
  inputs = testing.make_inputs(B=2, L=L, P=P, H=1, **SIZES)
  inputs['prefix_len'] = np.int32([P, P // 50])
  tiles = mosaic_sm90_tiles.Tiles(segment_chunks=-(-L // 128) // count)
  assert tiles.segments(B=2, H=1, V=64, L=L) == count
  actual = evaluate(inputs, KERNELS, tiles=tiles)
  expected = evaluate(exactly(inputs), 'reference')
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


# How heads are widened is also compared exactly, in mosaic_sm90_widths_test.py.
@needs_mosaic
@pytest.mark.slow
@pytest.mark.parametrize('sizes', [dict(D=8, V=40), dict(D=8), dict(V=80)])
def test_other_widths_are_those_of_the_definition(interpreted, sizes):
  inputs = testing.make_inputs(B=2, L=130, P=100, H=1, **SIZES | sizes)
  actual = evaluate(inputs, KERNELS)
  expected = evaluate(exactly(inputs), 'reference')
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


@needs_mosaic
def test_the_state_of_narrow_heads_goes_on_in_chunks(interpreted):
  inputs = testing.make_inputs(B=1, L=130, P=0, H=1, **SIZES | dict(D=8, V=40))
  del inputs['k_enc'], inputs['v_enc'], inputs['prefix_len']
  past = inputs.pop('initial_state')
  op = functools.partial(
      pallas_kernels.prefix_linear_attention, return_state=True
  )
  pieces = [{n: x[:, s] for n, x in inputs.items()} for s in np.s_[:99, 99:]]
  first, state = op(**pieces[0], initial_state=past, implementation=KERNELS)
  rest, state = op(**pieces[1], initial_state=state, implementation='chunked')
  expected = op(
      **exactly(inputs), initial_state=past, implementation='reference'
  )
  actual = jnp.concatenate([first, rest], axis=1), state
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


@needs_mosaic
def test_float32_is_taken_where_its_products_may_be_those_of_bfloat16():
  # A length of its own: jax remembers what a call was traced to elsewhere.
  inputs = testing.make_inputs(B=1, L=131, P=100, H=1, **SIZES | FLOAT32)
  shapes = functools.partial(jax.eval_shape, lambda: evaluate(inputs, KERNELS))
  with pytest.raises(NotImplementedError, match='must be bfloat16, or float32'):
    shapes()
  with jax.default_matmul_precision('bfloat16'):
    found = shapes()
  for name in 'q', 'k', 'v', 'k_enc', 'v_enc':
    assert found['gradients'][name].dtype == jnp.float32
  assert found['y'].dtype == jnp.float32


@needs_mosaic
@pytest.mark.slow
def test_float32_is_rounded_to_bfloat16(interpreted):
  inputs = testing.make_inputs(B=1, L=130, P=100, H=1, **SIZES | FLOAT32)
  with jax.default_matmul_precision('bfloat16'):
    actual = evaluate(inputs, KERNELS)
  expected = evaluate(inputs, 'reference')
  testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])


@needs_mosaic
@pytest.mark.parametrize(
    'precision', [None, 'tensorfloat32', 'highest', 'BF16_BF16_F32_X3']
)
def test_float32_is_refused_where_its_products_must_be_more_exact(precision):
  inputs = testing.make_inputs(B=1, L=4, P=0, H=1, **SIZES | FLOAT32)
  with jax.default_matmul_precision(precision):
    with pytest.raises(NotImplementedError, match='got float32 and float32'):
      pallas_kernels.prefix_linear_attention(**inputs, implementation=KERNELS)


@needs_mosaic
@pytest.mark.parametrize(
    'sizes, options, reason',
    [
        (dict(D=24), {}, r'D must be one of \(8, 16\), got 24'),
        (dict(V=129), {}, 'V must be from 1 to 128, got 129'),
        (
            {},
            dict(feature_map=feature_maps.taylor_exp(4), initial_state=None),
            r"must be 'taylor_exp', got 'taylor_exp\(order=4\)'",
        ),
    ],
)
def test_what_the_kernels_cannot_take_is_refused_with_the_reason(
    sizes, options, reason
):
  inputs = testing.make_inputs(B=1, L=4, P=0, H=1, **SIZES | sizes)
  with pytest.raises(NotImplementedError, match=reason):
    pallas_kernels.prefix_linear_attention(
        **inputs | options, implementation=KERNELS
    )


@needs_mosaic
@pytest.mark.parametrize('B, told', [(0, '0'), (2**16, '65,536')])
def test_no_rows_and_too_many_for_a_grid_are_refused(B, told):
  inputs = testing.make_inputs(B=1, L=4, P=0, H=1, **SIZES)
  rows = lambda x: jax.ShapeDtypeStruct((B, *x.shape[1:]), x.dtype)
  op = functools.partial(
      pallas_kernels.prefix_linear_attention, implementation=KERNELS
  )
  reason = f'B \\* H must be from 1 to 65,535, got {told}'
  with pytest.raises(NotImplementedError, match=reason):
    jax.eval_shape(lambda x: op(**x), jax.tree.map(rows, inputs))


@needs_mosaic
def test_a_second_derivative_is_refused_with_the_reason():
  # A length of its own: jax remembers what a call was traced to elsewhere.
  inputs = testing.make_inputs(B=1, L=5, P=0, H=1, **SIZES)

  def loss(v):
    y = pallas_kernels.prefix_linear_attention(
        **inputs | {'v': v}, implementation=KERNELS
    )
    return y.astype('float32').sum()

  def norm(v):
    return jax.grad(loss)(v).astype('float32').sum()

  jax.eval_shape(norm, inputs['v'])
  with pytest.raises(NotImplementedError, match='first derivatives only, in r'):
    jax.eval_shape(jax.grad(norm), inputs['v'])


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_what_the_kernels_cannot_run_here_is_left_to_chunks(dtype):
  inputs = testing.make_inputs(B=1, L=4, P=0, H=1, **SIZES | {'dtype': dtype})
  actual = pallas_kernels.prefix_linear_attention(
      **inputs, implementation=(KERNELS, 'chunked')
  )
  expected = pallas_kernels.prefix_linear_attention(**inputs)
  np.testing.assert_array_equal(actual, expected)
