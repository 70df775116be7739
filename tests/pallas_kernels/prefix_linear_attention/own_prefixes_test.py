"""Packed documents that each have a prefix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import chunked

L = 29

# (document, prefix) lengths of the rows. A chunk has 4 positions: documents of
# 1 token, many in a chunk, and one over several chunks. Some are all prefix,
# some have none.
ROWS = (
    [(7, 3), (1, 1), (2, 0), (13, 9), (6, 2)],
    [(29, 29)],
    [(11, 0), (18, 4)],
)

each_implementation = pytest.mark.parametrize(
    'implementation', ['chunked', 'reference']
)


def packed_rows(rows=ROWS):
  """The arguments that say which documents and prefixes the rows have."""
  of = lambda row, f: np.concatenate([f(*document) for document in row])
  ids = [np.repeat(np.arange(len(row)), [n for n, _ in row]) for row in rows]
  prefix = [of(row, lambda n, M: np.arange(n) < M) for row in rows]
  return {'segment_ids': np.int32(ids), 'prefix_mask': np.stack(prefix)}


@pytest.fixture(scope='module')
def inputs():
  """Arrays of floats: every position has a key and a value for a prefix."""

  def inputs(dtype='float32', **sizes):
    sizes = {'B': len(ROWS), 'L': L, 'P': L} | sizes
    arguments = testing.make_inputs(**sizes, dtype=dtype)
    del arguments['prefix_len']
    return arguments

  return inputs


def evaluate(function, arguments):
  run = functools.partial(testing.outputs_and_gradients, function)
  return jax.jit(run)(arguments)


@pytest.fixture(scope='module')
def alone(op, inputs):
  """What the definition makes of each document of bfloat16 numbers by itself."""
  call = functools.partial(op, implementation='reference', return_state=True)

  def function(*, initial_state, **arrays):
    joined = []
    for b, row in enumerate(ROWS):
      ys, start = [], 0
      state = jax.tree.map(lambda x: x[b : b + 1], initial_state)
      for n, M in row:
        own = {x: arrays[x][b : b + 1, start : start + n] for x in arrays}
        M = jnp.full(1, M, jnp.int32)
        y, last = call(**own, prefix_len=M, initial_state=state)
        state = jax.tree.map(jnp.zeros_like, state)
        ys, start = [*ys, y], start + n
      joined.append((jnp.concatenate(ys, axis=1), last))
    return jax.tree.map(lambda *rows: jnp.concatenate(rows), *joined)

  return evaluate(function, exactly(inputs('bfloat16')))


def exactly(arguments):
  return jax.tree.map(lambda x: x.astype('float32'), arguments)


@each_implementation
def test_a_token_sees_the_prefix_of_its_own_document_only(op, implementation):
  length = 9
  rows = packed_rows([[(2, 1), (4, 3), (1, 0), (2, 2)]])

  @jax.jit
  def jacobian(x):  # [L, V, L, D]; all that is read is one x
    def outputs(x):
      x = x[None, :, None]
      return op(*[x] * 5, **rows, implementation=implementation)[0, :, 0]

    return jax.jacrev(outputs)(x)

  x = testing.make_inputs(B=1, L=length, H=1, D=2)['q'][0, :, 0]
  depends = np.asarray(jacobian(x)).any(axis=(1, 3))
  i, j = np.indices((length, length))
  segment, is_prefix = rows['segment_ids'][0], rows['prefix_mask'][0]
  sees = (segment[i] == segment[j]) & ((j <= i) | is_prefix[j])
  np.testing.assert_array_equal(depends, sees)


@each_implementation
@pytest.mark.parametrize('dtype', testing.TOLERANCE)
def test_packed_documents_are_as_if_alone(
    op, inputs, alone, dtype, implementation
):
  packed = functools.partial(
      op, **packed_rows(), implementation=implementation, return_state=True
  )
  arguments = inputs('bfloat16')
  if dtype == 'float32':
    arguments = exactly(arguments)
  actual = evaluate(packed, arguments)
  testing.assert_close(actual, alone, testing.TOLERANCE[dtype])


@pytest.mark.parametrize('chunk', [1, 5, 128])
def test_chunks_of_any_size_are_the_definition(
    unoptimized, monkeypatch, inputs, chunk
):
  with_chunk = functools.partial(chunked.chunked, chunk=chunk)
  monkeypatch.setitem(api.IMPLEMENTATIONS, 'with_chunk', with_chunk)
  rng = np.random.default_rng(0)
  P = 22  # no prefix key is known beyond it, and no prefix need be contiguous
  rows = packed_rows() | {
      'prefix_mask': rng.random((len(ROWS), P)) < 0.5,
      'mask': rng.random((len(ROWS), L)) < 0.8,
  }
  function = functools.partial(
      pallas_kernels.prefix_linear_attention, **rows, return_state=True
  )
  arguments = inputs(P=P)
  actual, expected = (
      evaluate(functools.partial(function, implementation=name), arguments)
      for name in ('with_chunk', 'reference')
  )
  testing.assert_close(actual, expected, testing.TOLERANCE['float32'])


@each_implementation
def test_without_documents_a_mask_is_a_length(op, inputs, implementation):
  lengths = np.int32([29, 0, 11])
  run = functools.partial(op, implementation=implementation, return_state=True)
  of_mask = run(**inputs(), prefix_mask=np.arange(L) < lengths[:, None])
  of_length = run(**inputs(), prefix_len=lengths)
  testing.assert_close(of_mask, of_length, 0)


def test_positions_that_are_not_prefix_are_not_read(op, inputs):
  rows, arguments = packed_rows(), inputs()
  read = functools.partial(op, **rows, implementation='chunked')
  run = jax.jit(functools.partial(testing.outputs_and_gradients, read))
  expected = run(arguments)
  for name in 'k_enc', 'v_enc':
    arguments[name] = arguments[name].copy()
    arguments[name][~rows['prefix_mask']] = np.nan
  testing.assert_close(run(arguments), expected, 0)


def test_the_masks_of_the_caller_stay_as_they_were(op, inputs):
  rows = packed_rows() | {'mask': np.zeros((len(ROWS), L), bool)}
  before = {name: x.copy() for name, x in rows.items()}
  pallas_kernels.prefix_linear_attention(**inputs(), **rows)
  jax.tree.map(np.testing.assert_array_equal, rows, before)


def test_a_sharded_batch_is_computed_in_place(op, inputs):
  mesh = jax.make_mesh(
      (8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
  rows = packed_rows((ROWS * 3)[:8])
  function = functools.partial(
      pallas_kernels.prefix_linear_attention,
      implementation='chunked',
      return_state=True,
      batch_axes=('data',),
  )

  @jax.jit
  def run(floats, rows):
    function_of_floats = functools.partial(function, **rows)
    return testing.outputs_and_gradients(function_of_floats, floats)

  arguments = inputs(B=8), rows
  sharded = jax.device_put(arguments, spec)
  with jax.set_mesh(mesh):
    compiled = run.lower(*sharded).compile()
  for collective in 'all-gather', 'all-reduce', 'all-to-all':
    assert collective not in compiled.as_text()
  actual = compiled(*sharded)
  testing.assert_close(actual, run(*arguments), testing.TOLERANCE['float32'])


def test_memory_of_both_passes_is_linear_in_the_length(unoptimized):
  H, D, V = 2, 16, 64

  def temporary_bytes(length):
    def outputs(floats, segment_ids, prefix_mask):
      return pallas_kernels.prefix_linear_attention(
          *floats,
          segment_ids=segment_ids,
          prefix_mask=prefix_mask,
          implementation='chunked',
      )

    function = jax.grad(lambda *x: outputs(*x).sum())
    widths = D, D, V, D, V
    floats = [
        jax.ShapeDtypeStruct((1, length, H, width), jnp.float32)
        for width in widths
    ]
    marks = (
        jax.ShapeDtypeStruct((1, length), dtype)
        for dtype in (jnp.int32, jnp.bool_)
    )
    compiled = jax.jit(function).lower(floats, *marks).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporary_bytes(32_768) <= 2.1 * temporary_bytes(16_384)
