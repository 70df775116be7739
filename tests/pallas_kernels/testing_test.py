import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import testing


def test_what_differs_is_named():
  actual = {'a': jnp.array([3.0, 4.0]), 'b': {'c': jnp.array([3.0, 4.1])}}
  expected = {'a': jnp.array([3.0, 4.0]), 'b': {'c': jnp.array([3.0, 4.0])}}
  testing.assert_close(actual, expected, 0.021)
  with pytest.raises(AssertionError, match=r"^\['b'\]\['c'\] differs by 0.02,"):
    testing.assert_close(actual, expected, 0.019)


@pytest.mark.parametrize(
    ('actual', 'message'),
    [
        ({'a': np.ones((2, 1))}, r'shape \(2, 1\), not \(2,\)'),
        ({'b': np.ones(2)}, 'expected'),
        ({'a': np.array([1, np.nan])}, 'differs by nan'),
        ({'a': np.array([1, np.inf])}, 'differs by inf'),
    ],
)
def test_no_tolerance_forgives_a_wrong_shape_name_or_nan(actual, message):
  with pytest.raises(AssertionError, match=message):
    testing.assert_close(actual, {'a': np.ones(2)}, 1e9)


def test_zeros_are_met_exactly():
  testing.assert_close(np.zeros(2), np.zeros(2), 0)
  with pytest.raises(AssertionError):
    testing.assert_close(np.full(2, 1e-3), np.zeros(2), 1e-5)


def test_gradients_are_those_of_every_output():
  arguments = {'x': jnp.ones(3), 'n': jnp.int32(2)}
  both = lambda x, n: (x * n, x[:2] * 3)
  outputs, gradients = testing.outputs_and_gradients(both, arguments)
  testing.assert_close(outputs, (2 * np.ones(3), 3 * np.ones(2)), 0)
  assert gradients.keys() == {'x'}
  first = lambda x, n: x * n
  _, gradients_of_first = testing.outputs_and_gradients(first, arguments)
  by_second = np.asarray(gradients['x'] - gradients_of_first['x'])
  assert by_second.astype(bool).tolist() == [True, True, False]


def test_dtypes_get_equal_cotangents():
  gradients = [
      testing.outputs_and_gradients(lambda x: x * 2, {'x': x})[1]
      for x in (jnp.ones(3), jnp.ones(3, jnp.bfloat16))
  ]
  testing.assert_close(*gradients, 0)


def test_inputs_mix_prefix_lengths_and_depend_on_the_seed():
  inputs = testing.make_inputs(B=3, P=8)
  assert inputs['prefix_len'].tolist() == [8, 4, 0]
  testing.assert_close(inputs, testing.make_inputs(B=3, P=8), 0)
  assert not np.allclose(inputs['q'], testing.make_inputs(B=3, seed=1)['q'])
  positive = testing.make_inputs(feature_map='identity', positive=True)
  assert all((positive[name] > 0).all() for name in ('q', 'k', 'k_enc'))
