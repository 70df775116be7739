import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import chunked

FLOATS = 'q', 'k', 'v', 'k_enc', 'v_enc'
HEADS, D, V = 2, 16, 64  # of the compiled programs below


def evaluate(op, inputs, **options):
  """Compiles and returns outputs, state and gradients."""
  op = functools.partial(op, return_state=True, **options)
  function = functools.partial(testing.outputs_and_gradients, op)
  return jax.jit(function)(inputs)


@pytest.fixture(scope='module')
def inputs():
  """Lengths that no chunk below divides; a document ends inside a chunk."""
  segment_ids = np.int32([[0] * 9 + [1] * 2 + [0] * 2] * 2)
  mask = np.ones((2, 13), bool)
  mask[0, 2] = False
  return testing.make_inputs() | {'segment_ids': segment_ids, 'mask': mask}


@pytest.fixture(scope='module')
def in_float64(unoptimized, inputs):
  """The truth: the definition and its automatic gradients in float64."""
  with jax.enable_x64(True):
    wide = {
        name: x.astype('float64') if name in FLOATS else x
        for name, x in inputs.items()
    }
    op = pallas_kernels.prefix_linear_attention
    return jax.tree.map(
        np.asarray, evaluate(op, wide, implementation='reference')
    )


@pytest.mark.parametrize('chunk', [1, 5, 128])
def test_gradients_are_those_of_the_definition_in_float64(
    monkeypatch, in_float64, inputs, chunk
):
  with_chunk = functools.partial(chunked.chunked, chunk=chunk)
  monkeypatch.setitem(api.IMPLEMENTATIONS, 'with_chunk', with_chunk)
  op = pallas_kernels.prefix_linear_attention
  actual = evaluate(op, inputs, implementation='with_chunk')
  testing.assert_close(actual, in_float64, testing.TOLERANCE['float32'])


def test_chunks_beyond_every_prefix_are_not_computed(op):
  inputs = testing.make_inputs(P=12)
  inputs['prefix_len'] = np.int32([5, 2])  # in the first two chunks of four
  function = functools.partial(op, implementation='chunked')
  run = jax.jit(functools.partial(testing.outputs_and_gradients, function))

  def plant(position):
    planted = {name: inputs[name].copy() for name in ('k_enc', 'v_enc')}
    for x in planted.values():
      x[:, position:] = np.nan
    return run(inputs | planted)

  testing.assert_close(plant(8), run(inputs), 0)
  # A chunk that is computed would have let them through.
  assert np.isnan(plant(7)[0]).any()


def test_a_sharded_batch_is_computed_in_place(op):
  inputs = testing.make_inputs(B=8)
  mesh = jax.make_mesh(
      (8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
  function = functools.partial(op, implementation='chunked', return_state=True)
  run = jax.jit(functools.partial(testing.outputs_and_gradients, function))
  sharded = jax.device_put(inputs, rows)
  compiled = run.lower(sharded).compile()
  assert 'all-gather' not in compiled.as_text()
  actual = compiled(sharded)
  for x in jax.tree.leaves(actual):
    assert x.sharding.is_equivalent_to(rows, x.ndim)
  testing.assert_close(actual, run(inputs), testing.TOLERANCE['float32'])


@pytest.fixture(scope='module')
def compiled(unoptimized):
  """Programs over so many tokens, never run: what memory would they take?"""

  @functools.cache
  def compiled(length, implementation='chunked', backward=False):
    def forward(*arrays):
      return pallas_kernels.prefix_linear_attention(
          *arrays, implementation=implementation
      )

    def gradients(*arrays):
      return jax.grad(lambda *x: forward(*x).sum(), range(5))(*arrays)

    P = length // 2
    widths = (length, D), (length, D), (length, V), (P, D), (P, V)
    shapes = [
        jax.ShapeDtypeStruct((1, n, HEADS, width), jnp.float32)
        for n, width in widths
    ]
    function = jax.jit(gradients if backward else forward)
    return function.lower(*shapes).compile()

  return compiled


def temporary_bytes(program):
  return program.memory_analysis().temp_size_in_bytes


def largest_array(program):
  """Elements in the largest array that the program names."""
  shapes = re.findall(r'\b[a-z]+\d+\[([\d,]+)\]', program.as_text())
  return max(np.prod([int(n) for n in s.split(',')]) for s in shapes)


@pytest.mark.parametrize('backward', [False, True])
def test_memory_is_linear_in_the_length(compiled, backward):
  short, long = (
      temporary_bytes(compiled(length, backward=backward))
      for length in (16_384, 32_768)
  )
  assert long <= 2.1 * short
  assert long <= 2048 * 32_768 * HEADS


def test_backward_keeps_the_outputs_and_states_and_copies_no_input(compiled):
  length = 32_768
  outputs = length * HEADS * V
  F = 1 + D + D * (D + 1) // 2
  states = length // chunked.CHUNK * HEADS * F * (V + 1)
  kept = 4 * (outputs + states)
  assert temporary_bytes(compiled(length, backward=True)) <= 1.75 * kept


def test_memory_is_a_hundredth_of_the_quadratic_one(compiled):
  quadratic = compiled(32_768, 'reference')
  assert temporary_bytes(compiled(32_768)) <= temporary_bytes(quadratic) / 100


@pytest.mark.parametrize('backward', [False, True])
def test_no_weights_and_no_features_of_all_tokens_are_kept(compiled, backward):
  length = 32_768
  features = HEADS * length * (1 + D + D * (D + 1) // 2)
  assert largest_array(compiled(length, backward=backward)) < features
  weights = HEADS * length * length
  assert largest_array(compiled(length, 'reference')) >= weights
