"""What the operation means, whichever implementation runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import testing

L, P = 13, 8
TOLERANCE = testing.TOLERANCE['float32']

each_implementation = pytest.mark.parametrize(
    'implementation', ['chunked', 'reference']
)


@pytest.fixture
def run(op, implementation):
  """Outputs and state; nothing is left out, so that little is compiled."""

  def run(**arguments):
    B, L, H, D = arguments['q'].shape
    V = arguments['v'].shape[-1]
    defaults = {
        'k_enc': np.zeros((B, 0, H, D), np.float32),
        'v_enc': np.zeros((B, 0, H, V), np.float32),
        'prefix_len': np.zeros(B, np.int32),
        'initial_state': pallas_kernels.zero_state(B, H, D, V, 'taylor_exp'),
        'segment_ids': np.zeros((B, L), np.int32),
        'mask': np.ones((B, L), bool),
    }
    return op(
        **defaults | arguments, implementation=implementation, return_state=True
    )

  return run


def ids(*rows):
  return np.asarray(rows, np.int32)


@each_implementation
def test_a_token_sees_the_prefix_and_what_came_before_it(op, implementation):
  length, capacity = 7, 5

  @jax.jit
  def jacobian(x, prefix_len):  # [L, V, L, D]; all that is read is one x
    def outputs(x):
      x = x[None, :, None]
      x_enc = x[:, :capacity]
      arguments = x, x, x, x_enc, x_enc, prefix_len
      return op(*arguments, implementation=implementation)[0, :, 0]

    return jax.jacrev(outputs)(x)

  x = testing.make_inputs(B=1, L=length, H=1, D=2)['q'][0, :, 0]
  i, j = np.indices((length, length))
  for prefix_len in (0, 1, 3, 5):
    depends = np.asarray(jacobian(x, ids(prefix_len))).any(axis=(1, 3))
    np.testing.assert_array_equal(depends, (j <= i) | (j < prefix_len))


@each_implementation
def test_no_prefix_is_causal_linear_attention(run):
  inputs = testing.make_inputs()
  zero = run(**inputs | {'prefix_len': ids(0, 0)})
  causal = {n: inputs[n] for n in ('q', 'k', 'v', 'initial_state')}
  testing.assert_close(zero, run(**causal), TOLERANCE)


@each_implementation
def test_what_is_left_out_is_all_prefix_one_document_and_no_state(
    op, run, implementation
):
  inputs = testing.make_inputs()
  del inputs['prefix_len'], inputs['initial_state']
  short = op(**inputs, implementation=implementation)
  explicit, _ = run(**inputs, prefix_len=ids(P, P))
  testing.assert_close(short, explicit, TOLERANCE)


@each_implementation
def test_packed_documents_are_as_if_alone(run):
  inputs = testing.make_inputs() | {'prefix_len': ids(5, 2)}
  # Three documents, the last with the id of the first. Only the first reads
  # the prefix and the initial state; the state that remains is the last one's.
  segments = [1] * 7 + [2] * 3 + [1] * 3
  packed, state = run(**inputs, segment_ids=ids(segments, segments))
  first = inputs | {n: inputs[n][:, :7] for n in 'qkv'}
  first |= {n: inputs[n][:, :5] for n in ('k_enc', 'v_enc')}
  second = {n: inputs[n][:, 7:10] for n in 'qkv'}
  third = {n: inputs[n][:, 10:] for n in 'qkv'}
  alone = [run(**document) for document in (first, second, third)]
  alone_y = np.concatenate([y for y, _ in alone], axis=1)
  testing.assert_close((packed, state), (alone_y, alone[-1][1]), TOLERANCE)


@each_implementation
def test_a_batch_is_as_if_one_by_one(run):
  inputs = testing.make_inputs()
  assert inputs['prefix_len'].tolist() == [8, 0]
  batch = run(**inputs)
  for row in (slice(0, 1), slice(1, 2)):
    alone = run(**jax.tree.map(lambda x: x[row], inputs))
    of_batch = jax.tree.map(lambda x: x[row], batch)
    testing.assert_close(of_batch, alone, TOLERANCE)


@each_implementation
def test_masked_tokens_are_as_if_removed(run):
  inputs = testing.make_inputs() | {'prefix_len': ids(8, 6)}
  gaps = [0, 1, 5], [4, 11, 12]  # on the left, inside, on the right
  mask = np.ones((2, L), bool)
  mask[np.arange(2)[:, None], gaps] = False
  kept = np.argsort(~mask, axis=1, kind='stable')[:, : L - 3]
  prefix = np.argsort(~mask[:, :P], axis=1, kind='stable')

  def take(x, order):
    return np.take_along_axis(np.asarray(x), order[..., None, None], axis=1)

  removed = inputs | {name: take(inputs[name], kept) for name in 'qkv'}
  removed |= {n: take(inputs[n], prefix) for n in ('k_enc', 'v_enc')}
  y, state = run(**inputs, mask=mask)
  expected = run(**removed | {'prefix_len': ids(5, 5)})
  testing.assert_close((take(y, kept), state), expected, TOLERANCE)


@each_implementation
def test_where_nothing_was_seen_the_output_is_zero(op, implementation):
  inputs = testing.make_inputs()
  del inputs['initial_state']
  mask = np.arange(L) >= [[10], [10]]  # more than the prefix

  def function(**arguments):
    return op(**arguments, mask=mask, implementation=implementation)

  y, gradients = testing.outputs_and_gradients(function, inputs)
  assert not np.any(y[:, :10]) and np.all(y[:, 10:])
  for name, gradient in gradients.items():
    assert np.isfinite(gradient).all(), name


@each_implementation
def test_a_prefix_is_cut_at_its_segment_where_it_is_not_known(run):
  inputs = testing.make_inputs()
  segment_ids = ids([0] * 6 + [1] * 7, [0] * 13)
  with pytest.raises(ValueError, match='inside the first segment'):
    pallas_kernels.prefix_linear_attention(**inputs, segment_ids=segment_ids)
  cut = run(**inputs, segment_ids=segment_ids)  # compiled
  inputs['prefix_len'] = ids(6, 0)
  testing.assert_close(cut, run(**inputs, segment_ids=segment_ids), TOLERANCE)


@each_implementation
def test_results_and_gradients_keep_their_dtypes(op, implementation):
  inputs = testing.make_inputs()
  for name in ('v', 'v_enc'):
    inputs[name] = inputs[name].astype('bfloat16')

  def function(**arguments):
    return op(**arguments, implementation=implementation, return_state=True)

  (y, state), gradients = jax.eval_shape(
      lambda x: testing.outputs_and_gradients(function, x), inputs
  )
  assert y.dtype == jnp.bfloat16
  assert state.kv.dtype == state.k.dtype == jnp.float32
  for name, gradient in gradients.items():
    dtypes = jax.tree.map(lambda x: x.dtype, (gradient, inputs[name]))
    assert dtypes[0] == dtypes[1], name


@pytest.fixture
def compilations():
  """The list of what has been compiled since it was emptied."""
  done = []

  def listen(event, duration, **kwargs):
    del duration
    if event == '/jax/core/compile/jaxpr_to_mlir_module_duration':
      done.append(kwargs.get('fun_name'))

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield done
  jax.monitoring.unregister_event_duration_listener(listen)


def test_only_the_first_of_equal_calls_outside_jit_compiles(
    unoptimized, compilations
):
  call = functools.partial(
      pallas_kernels.prefix_linear_attention, return_state=True
  )
  for seed in (0, 1):
    inputs = testing.make_inputs(B=1, H=1, seed=seed)
    compilations.clear()
    testing.outputs_and_gradients(call, inputs)
    assert (seed == 0) == bool(compilations), compilations


def test_bfloat16_inputs_are_accurate_over_thousands_of_tokens():
  length = 4096
  inputs = testing.make_inputs(
      B=1, L=length, P=length // 2, H=1, D=16, V=64, dtype='bfloat16'
  )
  del inputs['initial_state']
  y = jax.jit(pallas_kernels.prefix_linear_attention)(**inputs)
  end = slice(-64, None)
  f64 = {n: np.asarray(x, np.float64) for n, x in inputs.items()}
  q, k, v, k_enc, v_enc = (f64[n][0, :, 0] for n in list(inputs)[:5])

  def weights(keys):
    s = q[end] @ keys.T / 4
    return 1 + s + s**2 / 2

  sees = np.tri(length)[end]
  w, w_enc = weights(k) * sees, weights(k_enc)
  expected = w @ v + w_enc @ v_enc
  expected /= (w.sum(1) + w_enc.sum(1))[:, None]
  testing.assert_close(y[0, end, 0], expected, 1e-2)
