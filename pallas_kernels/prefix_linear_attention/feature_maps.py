"""Feature maps whose kernel has a closed form, for the operation to compute."""

from collections.abc import Callable
import collections
import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

MOST_MONOMIALS = 2**16  # a bound, because they are listed one by one


@dataclasses.dataclass(frozen=True)
class FeatureMap:
  """A map φ and its kernel φ(q)·φ(k).

  The constructors below are cached: equal settings give the same hashable
  object, so that compiled programs are reused.

  Attributes:
    name: as messages have it.
    features: maps [..., D] to [..., F].
    kernel: maps q·k, elementwise, and D to φ(q)·φ(k).
    width: maps D to F.
    positive: whether the kernel is far above 0, as the normalizer 'sum' needs it.
  """

  name: str
  features: Callable[[jax.Array], jax.Array]
  kernel: Callable[[jax.Array, int], jax.Array]
  width: Callable[[int], int]
  positive: bool = True

  def __str__(self) -> str:
    return self.name


@functools.cache
def identity() -> FeatureMap:
  """q and k are features already: the caller has applied a map of its own.

  Only the caller knows whether their products are positive.
  """
  return FeatureMap('identity', lambda x: x, lambda dot, D: dot, lambda D: D)


@functools.cache
def taylor_exp(order: int = 2, /) -> FeatureMap:
  """The Taylor expansion of exp(s), s = q·k / √D, up to s^order / order!.

  The kernel is positive if `order` is even, else it has either sign. Source:
  Based, https://arxiv.org/abs/2402.18668, with each monomial once.

  Raises:
    ValueError: the order is not positive.
  """
  if order == 2:  # no matrix products; GPU kernels rely on the order
    return FeatureMap(
        'taylor_exp', taylor_features, taylor_kernel, taylor_width
    )
  _check_positive(order=order)
  terms = [1 / math.factorial(m) for m in range(order + 1)]

  def kernel(dot, D):
    s = dot / math.sqrt(D)
    return functools.reduce(lambda y, term: y * s + term, reversed(terms))

  return _power_series(
      f'taylor_exp({order=})', kernel, terms, positive=order % 2 == 0
  )


@functools.cache
def polynomial(degree: int, offset: float, /) -> FeatureMap:
  """(offset + s)^degree, s = q·k / √D; not negative if `degree` is even.

  Raises:
    ValueError: the degree is not positive, or the offset negative.
  """
  _check_positive(degree=degree)
  if offset < 0:
    raise ValueError(f'offset must not be negative, got {offset}')
  p = degree
  terms = [math.comb(p, m) * offset ** (p - m) for m in range(p + 1)]

  def kernel(dot, D):
    return (offset + dot / math.sqrt(D)) ** degree

  return _power_series(f'polynomial({degree=}, {offset=})', kernel, terms)


@functools.cache
def symmetric_power(degree: int, /) -> FeatureMap:
  """s^degree, s = q·k / √D; not negative if `degree` is even, else signed.

  Raises:
    ValueError: the degree is not positive.
  """
  _check_positive(degree=degree)

  def kernel(dot, D):
    return (dot / math.sqrt(D)) ** degree

  name, terms = f'symmetric_power({degree=})', [0.0] * degree + [1.0]
  if degree == 1:  # one factor each: no products
    return FeatureMap(
        name,
        lambda x: x * x.shape[-1] ** -0.25,
        kernel,
        lambda D: D,
        positive=False,
    )
  return _power_series(name, kernel, terms)


def taylor_features(x: jax.Array) -> jax.Array:
  """Maps [..., D] to the symmetric second-order features [..., F].

  F = 1 + D + D (D + 1) / 2: the constant, x, and each product x_i x_j once.
  Products use rolled copies of x and need no gather: rolling by r pairs i with
  i - r. Rolling by half of D would give its pairs twice.
  """
  D = x.shape[-1]
  constant = jnp.ones_like(x[..., :1])
  linear = x * D**-0.25
  squares = x * x * (0.5 / D) ** 0.5
  mixed = [x * jnp.roll(x, r, axis=-1) for r in range(1, (D + 1) // 2)]
  if D % 2 == 0:
    mixed.append(x[..., : D // 2] * x[..., D // 2 :])
  mixed = [m * D**-0.5 for m in mixed]
  return jnp.concatenate([constant, linear, squares, *mixed], axis=-1)


def taylor_kernel(dot: jax.Array, D: int) -> jax.Array:
  """1 + s + s²/2 with s = q·k / √D; it is never below 1/2."""
  s = dot / math.sqrt(D)
  return 1 + s + s * s / 2


def taylor_width(D: int) -> int:
  return 1 + D + D * (D + 1) // 2


def _check_positive(**argument):
  for name, value in argument.items():
    if value < 1:
      raise ValueError(f'{name} must be positive, got {value}')


def _power_series(name, kernel, terms, positive=False):
  """The map of Σ_m terms[m] s^m, s = q·k / √D."""
  terms = tuple(terms)
  width = lambda D: len(_monomials(D, terms)[1])
  features = functools.partial(_power_features, terms=terms)
  return FeatureMap(name, features, kernel, width, positive)


def _power_features(x, *, terms):
  """Maps [..., D] to each monomial once, rounded once to the dtype of x.

  Factors are selected by products with matrices of zeros and ones, because the
  backward pass of a gather would be slow.
  """
  selections, weights = _monomials(x.shape[-1], terms)
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  x1 = jnp.concatenate([jnp.ones_like(x[..., :1]), x], axis=-1)
  factors = (
      jnp.matmul(
          x1,
          jnp.asarray(selection, x.dtype),
          precision=jax.lax.Precision.HIGHEST,
          preferred_element_type=dtype,
      )
      for selection in selections
  )
  product = functools.reduce(jnp.multiply, factors)
  return (product * weights.astype(dtype)).astype(x.dtype)


@functools.cache
def _monomials(D, terms):
  """All monomials of (1, x) whose degree has a term, as p factors each.

  Returns:
    [p, 1 + D, F], which is 1 for each factor and else 0; and [F], the weight of
    each monomial: its square is the coefficient in Σ_m terms[m] (q·k / √D)^m.
  """
  p = len(terms) - 1
  if (count := math.comb(D + p, p)) > MOST_MONOMIALS:
    raise ValueError(
        f'{D=} and an order or degree of {p} make {count:,} monomials, which'
        f' must be at most {MOST_MONOMIALS:,}: lower one of them'
    )
  factors, weights = [], []
  for monomial in itertools.combinations_with_replacement(range(D + 1), p):
    counts = collections.Counter(i for i in monomial if i)  # 0 is the constant
    m = counts.total()
    if terms[m]:
      ways = math.factorial(m) / math.prod(map(math.factorial, counts.values()))
      factors.append(monomial)
      weights.append(math.sqrt(terms[m] * ways * D ** (-m / 2)))
  return np.eye(1 + D)[np.array(factors).T].swapaxes(1, 2), np.array(weights)


# The maps that users can name.
FEATURE_MAPS = {'taylor_exp': taylor_exp(), 'identity': identity()}
