"""RMSNorm with a backward pass that saves memory."""

import functools

from flax import nnx
import jax
import jax.numpy as jnp


class RMSNorm(nnx.RMSNorm):
  """x / √(mean(x²) + ε) ⊙ scale, in float32, then rounded to `dtype`.

  The backward pass keeps the output y rather than x, and computes x / √… as
  y / scale. Where scale is exactly 0, it gets no gradient. Apex's
  `memory_efficient` norms do the same, https://github.com/NVIDIA/apex.
  """

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., E] to [..., E] in `dtype`."""
    return self.beside(x)[1]

  def beside(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns x itself and its normalised value.

    If callers use the returned x from here on, its two derivatives are added
    before they are written, once and in the precision of `dtype`.
    """
    return _beside(x, self.scale[...], self.epsilon, jnp.dtype(self.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _beside(x, scale, eps, dtype):
  return _forward(x, scale, eps, dtype)[0]


def _forward(x, scale, eps, dtype):
  wide = x.astype(jnp.float32)
  inverse = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
  y = (wide * (inverse * scale)).astype(dtype)
  return (x, y), (y, inverse, scale)


def _backward(eps, dtype, kept, cotangents):
  y, inverse, scale = kept
  dx, dy = cotangents
  x_dtype = dx.dtype
  # Otherwise XLA would recompute y from x.
  y = jax.lax.optimization_barrier(y).astype(jnp.float32)
  dy = dy.astype(jnp.float32)
  normal = y * (1 / jnp.where(scale == 0, 1, scale))
  dscale = jnp.sum(dy * normal, axis=range(y.ndim - 1))
  mean = jnp.mean(dy * y, axis=-1, keepdims=True)
  dx += inverse * (dy * scale - normal * mean)
  narrow = min(dtype, x_dtype, key=lambda dtype: dtype.itemsize)
  if narrow != jnp.float32:  # otherwise XLA would write float32
    dx = jax.lax.optimization_barrier(dx.astype(narrow))
  return dx.astype(x_dtype), dscale


_beside.defvjp(_forward, _backward)


def rms_normalized(x: jax.Array, gain: jax.Array, epsilon: float) -> jax.Array:
  """x / √(mean(x²) + ε) ⊙ gain over the last axis, in float32 or wider."""
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  square = jnp.mean(x * x, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(square + epsilon) * gain
