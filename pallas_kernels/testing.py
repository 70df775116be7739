"""Inputs, gradients and comparisons for tests of the operations."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap
from pallas_kernels.prefix_linear_attention.inputs import find_map
from pallas_kernels.prefix_linear_attention.inputs import State

# The largest relative error (Frobenius) of outputs, states and gradients, by
# the dtype of the inputs, compared with float32 for equal numbers.
TOLERANCE = {'float32': 1e-5, 'bfloat16': 1e-2}


def make_inputs(
    *,
    B: int = 2,
    L: int = 13,
    P: int = 8,
    H: int = 2,
    D: int = 4,
    V: int = 3,
    dtype: str = 'float32',
    seed: int = 0,
    feature_map: str | FeatureMap = 'taylor_exp',
    positive: bool = False,
) -> dict[str, Any]:
  """Random arguments of `prefix_linear_attention`, by name.

  Args:
    B: rows; if B > 1, the prefix length is P in the first and 0 in the last.
    L: tokens.
    P: prefix positions.
    H: heads.
    D: width of queries and keys.
    V: width of values.
    dtype: the dtype of queries, keys and values, which are normal.
    seed: the random seed.
    feature_map: the map of `initial_state`, which has read three tokens.
    positive: whether queries and keys are positive; then the weights of
      'identity' are positive, as normalizer 'sum' needs.

  Returns:
    numpy arrays: `q`, `k`, `v`, `k_enc`, `v_enc`, `prefix_len` and
    `initial_state`.
  """
  rng = np.random.default_rng(seed)
  sign = np.abs if positive else np.asarray
  past, dtype = 3, jnp.dtype(dtype)

  def keys(length):
    return sign(rng.standard_normal((B, length, H, D))).astype(dtype)

  def values(length):
    return rng.standard_normal((B, length, H, V)).astype(dtype)

  features = jax.jit(find_map(feature_map).features)
  phi = np.asarray(features(keys(past).astype('float32')))
  kv = np.einsum('blhf,blhv->bhfv', phi, values(past).astype('float32'))
  return {
      'q': keys(L),
      'k': keys(L),
      'v': values(L),
      'k_enc': keys(P),
      'v_enc': values(P),
      'prefix_len': np.linspace(P, 0, B).astype('int32'),
      'initial_state': State(kv, phi.sum(1)),
  }


def outputs_and_gradients(
    function: Callable[..., Any], arguments: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
  """Calls `function(**arguments)` and differentiates all its results.

  Args:
    function: returns arrays of floats, e.g. the outputs and the final state.
    arguments: arrays by name; gradients are with respect to arrays of floats.

  Returns:
    The results, and the gradients, by name, of their inner product with random
    arrays, which are the same for every dtype.
  """

  def is_float(x):
    leaves = jax.tree.leaves(x)
    return all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)

  floats = {name: x for name, x in arguments.items() if is_float(x)}
  outputs, vjp = jax.vjp(lambda x: function(**{**arguments, **x}), floats)
  leaves, treedef = jax.tree.flatten(outputs)
  rng = np.random.default_rng(0)
  cotangents = [
      jnp.asarray(rng.standard_normal(x.shape), jnp.bfloat16).astype(x.dtype)
      for x in leaves
  ]
  return outputs, vjp(treedef.unflatten(cotangents))[0]


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
  """Raises AssertionError that names the different arrays and their errors.

  Args:
    actual: a pytree of arrays, of any dtypes.
    expected: the same pytree with the right values; zeros must be exact.
    tolerance: the largest relative error of an array, in the Frobenius norm.
  """
  actual, expected = _by_name(actual), _by_name(expected)
  assert (
      actual.keys() == expected.keys()
  ), f'got {sorted(actual)}, expected {sorted(expected)}'
  wrong = []
  for name, x in actual.items():
    if x.shape != expected[name].shape:
      wrong.append(f'{name} has shape {x.shape}, not {expected[name].shape}')
    elif not (error := relative_error(x, expected[name])) <= tolerance:
      wrong.append(f'{name} differs by {error:.2g}, more than {tolerance:.2g}')
  assert not wrong, '; '.join(wrong)


def relative_error(actual: jax.Array, expected: jax.Array) -> float:
  """Returns ‖actual - expected‖ / ‖expected‖, or nan if one is not finite."""
  actual, expected = (np.asarray(x, np.float64) for x in (actual, expected))
  error = np.linalg.norm(actual - expected)
  return float(error / (np.linalg.norm(expected) or 1)) if error else 0.0


def _by_name(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): np.asarray(x) for path, x in leaves}
