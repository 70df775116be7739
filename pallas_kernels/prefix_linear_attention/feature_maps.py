"""Feature maps that the operation computes itself."""

from collections.abc import Callable
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class FeatureMap(NamedTuple):
  """A map φ and the kernel φ(q)·φ(k) that it stands for."""

  features: Callable[[jax.Array], jax.Array]  # [..., D] to [..., F]
  kernel: Callable[[jax.Array, int], jax.Array]  # of q·k and D, elementwise
  width: Callable[[int], int]  # F, from D


def taylor_features(x: jax.Array) -> jax.Array:
  """Maps [..., D] to the symmetric second-order features [..., F].

  F = 1 + D + D (D + 1) / 2: the constant, x, and each product x_i x_j once.
  Products are taken with rolled copies of x, which needs no gather: rolling
  by r pairs i with i - r, and half a turn would count its pairs twice.
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


FEATURE_MAPS = {
    # The second-order Taylor expansion of exp(q·k / √D); Based
    # (https://arxiv.org/abs/2402.18668), with each monomial once.
    'taylor_exp': FeatureMap(
        taylor_features, taylor_kernel, lambda D: 1 + D + D * (D + 1) // 2
    ),
    # q and k are features already: of any other map, applied by the caller.
    'identity': FeatureMap(lambda x: x, lambda dot, D: dot, lambda D: D),
}
