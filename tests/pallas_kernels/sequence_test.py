"""Several devices that share the positions of rows compute what one would."""

import functools
import re

import jax
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import chunked
from pallas_kernels.prefix_linear_attention import chunked_sums

pytestmark = pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)

L = 32
AXES = 'data', 'sequence', 'tensor'
SHARED = {
    'batch_axes': ('data',),
    'head_axes': ('tensor',),
    'sequence_axes': ('sequence',),
}
MESHES = {  # devices along each of the axes
    'two': (1, 2, 1),
    'four': (1, 4, 1),
    'two, with rows and heads': (2, 2, 2),
}


def make_mesh(sizes):
  return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * 3)


# Each row has a prefix, documents, and padding on the left and on the right. The
# borders between four devices are at 8, 16 and 24.
ROWS = {
    'no prefix': (0, [32], 0, 0),
    'a prefix that ends inside the first part': (3, [32], 0, 0),
    'a prefix that ends on a border': (16, [32], 0, 0),
    'a prefix that ends inside a later part': (19, [32], 0, 0),
    'all is prefix': (32, [32], 0, 0),
    'a document that begins on a border': (4, [8, 24], 0, 0),
    'documents that begin on all borders': (8, [8, 8, 8, 8], 0, 0),
    'a document that begins within a part': (5, [21, 11], 0, 0),
    'a document of three parts': (6, [7, 20, 5], 0, 0),
    'a prefix of several parts, and short documents': (20, [22, 1, 3, 6], 0, 0),
    'a prefix that is cut at a border, where its document ends': (
        20,
        [8, 24],
        0,
        0,
    ),
    'a prefix that is cut before documents of many parts': (
        32,
        [5, 6, 21],
        0,
        0,
    ),
    'padding on the left and on the right': (18, [32], 11, 5),
    'padding that fills a part': (24, [29, 3], 17, 9),
}


def make_rows(packed):
  """What rows look like: names, and arrays by name."""
  names = [
      name
      for name, (_, lengths, *padding) in ROWS.items()
      if packed or (len(lengths) == 1 and not any(padding))
  ]
  prefix_len, lengths, left, right = zip(*(ROWS[name] for name in names))
  position = np.arange(L)
  left, right = np.array(left)[:, None], L - np.array(right)[:, None]
  arrays = {'prefix_len': np.int32(prefix_len)}
  if packed:
    arrays |= {
        'segment_ids': np.int32(
            [np.repeat(np.arange(len(x)), x) for x in lengths]
        ),
        'mask': (position >= left) & (position < right),
    }
  return names, arrays


def prefix_attention_inputs(B, L=L):
  return testing.make_inputs(B=B, L=L, P=L, H=2, D=4, V=5)


def recurrence_inputs(B, erases, L=L):
  G, H, D, V = 2, 4, 4, 5
  rng = np.random.default_rng(0)
  normal = lambda *shape: rng.standard_normal(shape).astype('float32')
  k = normal(B, L, G, D)
  inputs = {
      'q': normal(B, L, G, D),
      'k': k / np.linalg.norm(k, axis=-1, keepdims=True),
      'v': normal(B, L, H, V),
      'log_decay': -rng.exponential(0.1, (B, L, H)).astype('float32'),
      'initial_state': normal(B, H, D, V),
  }
  if erases:
    inputs['beta'] = rng.uniform(0.1, 1, (B, L, H)).astype('float32')
  return inputs


OPERATIONS = {
    'prefix linear attention': (
        pallas_kernels.prefix_linear_attention,
        prefix_attention_inputs,
    ),
    'gated delta rule': (
        pallas_kernels.gated_delta_rule,
        functools.partial(recurrence_inputs, erases=True),
    ),
    'gated delta rule without beta': (
        pallas_kernels.gated_delta_rule,
        functools.partial(recurrence_inputs, erases=False),
    ),
}
each_operation = pytest.mark.parametrize('operation', OPERATIONS)


@pytest.fixture(scope='module', autouse=True)
def chunks_of_4():
  """Short parts have several chunks."""
  with pytest.MonkeyPatch.context() as patch:
    for table, function in (
        (api.IMPLEMENTATIONS, chunked.chunked),
        (api.SUMS, chunked_sums.sums),
    ):
      patch.setitem(table, 'chunked', functools.partial(function, chunk=4))
    yield


@functools.cache
def outputs_and_gradients(operation, packed, mesh):
  """Outputs, the last state and all gradients; without a mesh: on one device."""
  function, make_inputs = OPERATIONS[operation]
  names, rows = make_rows(packed)
  inputs = make_inputs(len(names))
  if function is pallas_kernels.gated_delta_rule:
    del rows['prefix_len']
  axes = SHARED if mesh else {}
  function = functools.partial(function, return_state=True, **axes)
  evaluate = functools.partial(testing.outputs_and_gradients, function)
  with jax.set_mesh(make_mesh(MESHES[mesh] if mesh else (1, 1, 1))):
    results = jax.jit(evaluate)(inputs | rows)
  return {
      name: jax.tree.map(lambda x: np.asarray(x)[b], results)
      for b, name in enumerate(names)
  }


@pytest.mark.parametrize(
    'mesh',
    [
        pytest.param('two', marks=pytest.mark.slow),
        'four',
        'two, with rows and heads',
    ],
)
@each_operation
def test_outputs_state_and_gradients_are_those_of_one_device(operation, mesh):
  expected = outputs_and_gradients(operation, True, None)
  actual = outputs_and_gradients(operation, True, mesh)
  testing.assert_close(actual, expected, 1e-5)


# Both recurrences take rows without ids as one document, before they differ.
@pytest.mark.parametrize('operation', [*OPERATIONS][:2])
def test_rows_of_one_document_are_those_of_one_device(operation):
  expected = outputs_and_gradients(operation, False, None)
  actual = outputs_and_gradients(operation, False, 'four')
  testing.assert_close(actual, expected, 1e-5)


@functools.cache
def compiled_gradients(operation, L, devices):
  """The gradients of arrays whose positions these devices share already."""
  function, make_inputs = OPERATIONS[operation]
  shapes = jax.tree.map(jax.typeof, make_inputs(1, L=L))
  rows = {
      'segment_ids': jax.ShapeDtypeStruct((1, L), jnp.int32),
      'mask': jax.ShapeDtypeStruct((1, L), jnp.bool_),
  }
  if function is pallas_kernels.prefix_linear_attention:
    rows['prefix_len'] = shapes.pop('prefix_len')
  shapes.pop('initial_state')
  mesh = jax.make_mesh((devices,), ('sequence',), axis_types=(AxisType.Auto,))

  def place(x):
    spec = [None, 'sequence'] if x.shape[1:2] == (L,) else []
    where = NamedSharding(mesh, PartitionSpec(*spec))
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

  def loss(inputs, rows):
    y, state = function(
        **inputs, **rows, return_state=True, sequence_axes=('sequence',)
    )
    return (y**2).sum() + sum(x.sum() for x in jax.tree.leaves(state))

  with jax.set_mesh(mesh):
    arguments = jax.tree.map(place, (shapes, rows))
    return jax.jit(jax.grad(loss)).lower(*arguments).compile()


@each_operation
def test_what_devices_exchange_does_not_depend_on_the_length(operation):
  kinds = (
      *('all-gather', 'all-reduce', 'all-to-all'),
      *('collective-permute', 'reduce-scatter'),
  )
  pattern = rf'= (.*?) ({"|".join(kinds)})(?:-start)?\('
  short, long = (
      sorted(
          re.findall(
              pattern, compiled_gradients(operation, L, devices=8).as_text()
          )
      )
      for L in (4096, 8192)
  )
  assert short and short == long


@each_operation
def test_each_device_needs_memory_for_its_own_positions_only(operation):
  """With beta, it is for more columns, and keys of PLA have two gradients."""

  def bytes_per_position(devices):
    short, long = (
        compiled_gradients(operation, L, devices)
        .memory_analysis()
        .temp_size_in_bytes
        for L in (4096, 8192)
    )
    return (long - short) / 4096

  assert bytes_per_position(devices=8) < bytes_per_position(devices=1) / 2


@pytest.mark.parametrize('erases', [True, False])
def test_a_state_without_outputs_is_that_of_one_device(erases):
  inputs = recurrence_inputs(2, erases)
  del inputs['q']
  state = lambda **axes: testing.outputs_and_gradients(
      functools.partial(pallas_kernels.gated_delta_rule_state, **axes), inputs
  )
  expected = state()
  with jax.set_mesh(make_mesh(MESHES['four'])):
    actual = jax.jit(functools.partial(state, **SHARED))()
  testing.assert_close(actual, expected, 1e-5)


def test_sums_of_a_ridge_regression_are_those_of_one_device():
  inputs = prefix_attention_inputs(2)
  inputs = {name: inputs[name] for name in ('k_enc', 'v_enc')}
  mask = np.arange(L) < np.array([[L], [13]])
  sums = lambda **axes: testing.outputs_and_gradients(
      functools.partial(pallas_kernels.prefix_sums, mask=mask, **axes), inputs
  )
  expected = sums()
  with jax.set_mesh(make_mesh(MESHES['two, with rows and heads'])):
    actual = jax.jit(functools.partial(sums, **SHARED))()
  testing.assert_close(actual, expected, 1e-5)


@pytest.mark.parametrize('length, axes', [(30, ('sequence',)), (L, ('pod',))])
def test_axes_that_do_not_divide_the_positions_are_ignored(length, axes):
  inputs = testing.make_inputs(B=1, L=length, P=8, H=2)  # P < L is no mistake
  op = functools.partial(pallas_kernels.prefix_linear_attention, **inputs)
  with jax.set_mesh(make_mesh(MESHES['four'])):
    actual = op(sequence_axes=axes)
  testing.assert_close(actual, op(), 1e-6)


def test_a_prefix_of_other_positions_is_refused():
  inputs = testing.make_inputs(B=1, L=L, P=16, H=2)
  with jax.set_mesh(make_mesh(MESHES['four'])):
    with pytest.raises(
        ValueError, match='^k_enc must have the L = 32 .* got 16'
    ):
      pallas_kernels.prefix_linear_attention(**inputs, **SHARED)


def test_documents_with_a_prefix_each_are_refused():
  inputs = testing.make_inputs(B=1, L=L, P=L, H=2) | {'prefix_len': None}
  rows = {
      'segment_ids': np.zeros((1, L), 'int32'),
      'prefix_mask': np.ones((1, L), bool),
  }
  with jax.set_mesh(make_mesh(MESHES['four'])):
    with pytest.raises(NotImplementedError, match='^sequence_axes must be'):
      pallas_kernels.prefix_linear_attention(**inputs, **rows, **SHARED)


@pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)
@pytest.mark.parametrize(
    'packed', [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_hopper_kernels_lower_for_devices_that_share_positions(packed):
  length, like = 1024, jax.ShapeDtypeStruct
  vectors = lambda width: like((1, length, 2, width), jnp.bfloat16)
  inputs = {name: vectors(16) for name in ('q', 'k', 'k_enc')}
  inputs |= {name: vectors(64) for name in ('v', 'v_enc')}
  rows = {'prefix_len': like((1,), jnp.int32)}
  if packed:
    rows['segment_ids'] = like((1, length), jnp.int32)

  def loss(inputs, rows):
    return pallas_kernels.prefix_linear_attention(
        **inputs, **rows, **SHARED, implementation='mosaic_sm90'
    ).sum()

  with jax.set_mesh(make_mesh(MESHES['four'])):
    traced = jax.jit(jax.grad(loss)).trace(inputs, rows)
    hlo = traced.lower(lowering_platforms=('cuda',)).as_text()
  assert 'mosaic_gpu' in hlo and 'all_gather' in hlo
