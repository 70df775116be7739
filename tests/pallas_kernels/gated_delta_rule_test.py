"""What the gated delta rule computes, and that all its forms agree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.gated_delta_rule import chunked
from pallas_kernels.gated_delta_rule.inputs import Inputs


def make_inputs(
    *, B=2, L=37, G=2, H=4, D=4, V=3, erases=True, dtype='float32', seed=0
):
  """Random arguments of `gated_delta_rule`, by name; keys have norm 1."""
  rng = np.random.default_rng(seed)

  def normal(*shape):
    return rng.standard_normal(shape)

  k = normal(B, L, G, D)
  arguments = {
      'q': normal(B, L, G, D).astype(jnp.dtype(dtype)),
      'k': (k / np.linalg.norm(k, axis=-1, keepdims=True)).astype(
          jnp.dtype(dtype)
      ),
      'v': normal(B, L, H, V).astype(jnp.dtype(dtype)),
      'log_decay': -rng.exponential(0.1, (B, L, H)).astype('float32'),
      'initial_state': normal(B, H, D, V).astype('float32'),
  }
  if erases:
    arguments['beta'] = rng.uniform(0.1, 1, (B, L, H)).astype('float32')
  return arguments


def run(implementation='chunked', **arguments):
  return pallas_kernels.gated_delta_rule(
      **arguments, return_state=True, implementation=implementation
  )


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('erases', [True, False])
def test_chunks_agree_with_the_definition_in_outputs_state_and_gradients(
    erases, dtype
):
  inputs = make_inputs(erases=erases, dtype=dtype, L=150)
  exact = {name: x.astype('float32') for name, x in inputs.items()}
  actual = testing.outputs_and_gradients(run, inputs)
  expected = testing.outputs_and_gradients(
      functools.partial(run, 'reference'), exact
  )
  testing.assert_close(actual, expected, testing.TOLERANCE[dtype])


@pytest.mark.parametrize('implementation', ['chunked', 'reference'])
def test_a_state_without_outputs_is_that_with_outputs(implementation):
  inputs = make_inputs(L=70)
  mask = np.arange(70) < np.array([[70], [33]])

  def state(function, q=None, **inputs):
    queries = {} if q is None else {'q': q, 'return_state': True}
    results = function(
        **queries, **inputs, mask=mask, implementation=implementation
    )
    return results if q is None else results[1]

  q = inputs.pop('q')
  expected = testing.outputs_and_gradients(
      functools.partial(state, pallas_kernels.gated_delta_rule, q), inputs
  )
  actual = testing.outputs_and_gradients(
      functools.partial(state, pallas_kernels.gated_delta_rule_state), inputs
  )
  testing.assert_close(actual, expected, 1e-5)


def test_packed_documents_and_padding_agree_with_the_definition():
  inputs = make_inputs(L=100)
  ids = np.searchsorted([3, 40, 64, 65, 90], np.arange(100), side='right')
  inputs['segment_ids'] = np.stack([ids, 0 * ids]).astype('int32')
  inputs['mask'] = np.random.default_rng(1).random((2, 100)) < 0.7
  actual = testing.outputs_and_gradients(run, inputs)
  expected = testing.outputs_and_gradients(
      functools.partial(run, 'reference'), inputs
  )
  testing.assert_close(actual, expected, 1e-5)


@pytest.mark.parametrize('erases', [True, False])
def test_steps_and_chained_calls_end_where_one_call_does(erases):
  inputs = make_inputs(erases=erases)
  expected = run(**inputs)
  state, outputs = inputs.pop('initial_state'), []
  for start, end in ((0, 20), (20, 30)):
    part = {name: x[:, start:end] for name, x in inputs.items()}
    y, state = run(**part, initial_state=state)
    outputs.append(y)
  for i in range(30, 37):
    token = {'beta': None} | {name: x[:, i] for name, x in inputs.items()}
    y, state = pallas_kernels.gated_delta_rule_step(**token, state=state)
    outputs.append(y[:, None])
  actual = jnp.concatenate(outputs, axis=1), state
  testing.assert_close(actual, expected, 1e-5)


def test_a_key_that_is_written_again_holds_its_last_value_only():
  inputs = make_inputs(B=1, L=2, G=1, H=1)
  inputs['k'][:] = inputs['k'][:, :1]
  inputs['beta'][:], inputs['log_decay'][:] = 1, 0
  del inputs['initial_state']
  q = inputs['k']
  y, _ = run(**{**inputs, 'q': q})
  testing.assert_close(y, inputs['v'], 1e-6)
  del inputs['beta']
  y, _ = run(**{**inputs, 'q': q})
  testing.assert_close(y, np.cumsum(inputs['v'], axis=1), 1e-6)


def test_padding_changes_nothing_that_is_seen():
  inputs = make_inputs(L=20)
  tokens = np.arange(20) < 12
  short = {
      name: x if name == 'initial_state' else x[:, :12]
      for name, x in inputs.items()
  }
  y, state = run(**inputs, mask=np.stack([tokens, tokens]))
  testing.assert_close((y[:, :12], state), run(**short), 1e-6)


def test_documents_are_read_as_if_each_stood_alone():
  inputs = make_inputs(L=20)
  ids = np.broadcast_to(np.arange(20) >= 9, (2, 20)).astype('int32')
  y, state = run(**inputs, segment_ids=ids)
  first = {
      n: x if n == 'initial_state' else x[:, :9] for n, x in inputs.items()
  }
  second = {n: x[:, 9:] for n, x in inputs.items() if n != 'initial_state'}
  alone = run(**second)
  testing.assert_close(y[:, :9], run(**first)[0], 1e-6)
  testing.assert_close((y[:, 9:], state), alone, 1e-6)


def test_no_gradient_reaches_later_tokens_or_other_documents():
  inputs = make_inputs(L=20)
  ids = np.broadcast_to(np.arange(20) >= 9, (2, 20)).astype('int32')

  def output(arguments):
    return run(**arguments, segment_ids=ids)[0][:, 14].sum()

  gradients = jax.grad(output)(inputs)
  assert not np.any(gradients.pop('initial_state'))
  for name, x in gradients.items():
    seen = np.asarray(x).reshape(2, 20, -1).any(axis=(0, 2))
    first = 14 if name == 'q' else 9 + (name == 'log_decay')
    assert list(np.flatnonzero(seen)) == list(range(first, 15)), name


def test_correlated_keys_and_strong_writes_lose_no_precision():
  """Powers of such a system are as large as 10^18; its solution is not."""
  inputs = make_inputs(L=64, H=2)
  inputs['k'][:] = inputs['k'][:, :1]
  inputs['beta'][:], inputs['log_decay'][:] = 1, 0
  testing.assert_close(run(**inputs), run('reference', **inputs), 1e-5)


@pytest.mark.parametrize('erases', [True, False])
def test_strong_decays_neither_overflow_nor_lose_gradients(erases):
  inputs = make_inputs(L=64, erases=erases)
  inputs['log_decay'] *= 1000
  ids = np.broadcast_to(np.arange(64) >= 60, (2, 64)).astype('int32')
  outputs, gradients = testing.outputs_and_gradients(
      functools.partial(run, segment_ids=ids), inputs
  )
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(outputs))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


@pytest.mark.parametrize('erases, backward', [(True, True), (False, False)])
def test_memory_grows_linearly_with_the_length(erases, backward):
  def temporary_bytes(L):
    inputs = make_inputs(B=1, L=L, G=1, H=2, D=16, V=16, erases=erases)
    forward = lambda x: run(**x)[0]
    gradients = jax.grad(lambda x: forward(x).sum())
    function = jax.jit(gradients if backward else forward)
    compiled = function.lower(inputs).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporary_bytes(32_768) <= 2.1 * temporary_bytes(16_384)


@pytest.mark.parametrize(
    'wrong, message',
    [
        ({'k': np.zeros((2, 37, 2, 5), 'float32')}, 'k must have shape'),
        ({'beta': np.zeros((2, 37, 2), 'float32')}, 'beta must have shape'),
        (
            {'log_decay': np.zeros((2, 37, 4), 'int32')},
            'log_decay must be float',
        ),
        ({'v': np.zeros((2, 37, 3, 3), 'float32')}, 'a multiple of the G = 2'),
        ({'implementation': 'triton'}, 'implementation must be one of'),
    ],
)
def test_bad_arguments_are_named(wrong, message):
  with pytest.raises(ValueError, match=message):
    run(**{**make_inputs(), **wrong})


def test_the_size_of_chunks_changes_nothing_but_rounding():
  arguments = {name: jnp.asarray(x) for name, x in make_inputs(L=50).items()}
  state = arguments.pop('initial_state')
  segment = jnp.zeros((2, 50), jnp.int32)
  inputs = Inputs(**arguments, segment=segment, state=state)
  small, large = (chunked.chunked(inputs, chunk=C) for C in (16, 64))
  testing.assert_close(small, large, 1e-5)
