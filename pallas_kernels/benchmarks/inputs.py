"""Random inputs, created on the device that uses them."""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp

import pallas_kernels
from pallas_kernels.benchmarks.roofline import D
from pallas_kernels.benchmarks.roofline import Workload

Arrays = dict[str, Any]


@functools.partial(jax.jit, static_argnums=0)
def normal(
    shapes: tuple[tuple[str, tuple[int, ...]], ...], seed: int
) -> Arrays:
  """Normally distributed bfloat16 arrays of the shapes, by name."""
  keys = jax.random.split(jax.random.key(seed), len(shapes))
  return {
      name: jax.random.normal(key, shape, jnp.bfloat16)
      for key, (name, shape) in zip(keys, shapes)
  }


def prefix_linear_attention(w: Workload, seed: int = 0) -> Arrays:
  """Arguments of the operation, and the cotangent `dy` of its outputs.

  Without a prefix, its arrays are left out.
  """
  tokens, prefix = (w.B, w.L, w.H), (w.B, w.P, w.H)
  shapes = {'q': tokens + (D,), 'k': tokens + (D,), 'v': tokens + (w.V,)}
  if w.P:
    shapes |= {'k_enc': prefix + (D,), 'v_enc': prefix + (w.V,)}
  shapes |= {'dy': tokens + (w.V,)}
  arrays = normal(tuple(shapes.items()), seed)
  if w.P:
    arrays['prefix_len'] = jnp.full(w.B, w.P, jnp.int32)
  return arrays


def documents(w: Workload, seed: int) -> Arrays:
  """Arguments with packed documents of a hundred tokens after the prefix.

  One token in ten is padding.
  """
  keys = jax.random.split(jax.random.key(seed))
  shape = w.B, w.L
  first = jax.random.bernoulli(keys[0], 0.01, shape) & (jnp.arange(w.L) >= w.P)
  return {
      'segment_ids': jnp.cumsum(first, axis=1, dtype=jnp.int32),
      'mask': jax.random.bernoulli(keys[1], 0.9, shape),
  }


def softmax_attention(w: Workload) -> Arrays:
  """q, k, v and the cotangent dy, all of them [B, L, H, V]."""
  shape = w.B, w.L, w.H, w.V
  return normal(tuple((name, shape) for name in ('q', 'k', 'v', 'dy')), 0)


def gated_delta_rule(w: Workload, *, width: int, erases: bool) -> Arrays:
  """Arguments of the operation, with keys of `width` D, and `dy`."""
  tokens = w.B, w.L, w.H
  shapes = {'q': tokens + (width,), 'k': tokens + (width,)}
  shapes |= {'v': tokens + (w.V,), 'dy': tokens + (w.V,)}
  arrays = normal(tuple(shapes.items()), 0)
  k = arrays['k'].astype(jnp.float32)
  k /= jnp.linalg.norm(k, axis=-1, keepdims=True)
  arrays['k'] = k.astype(jnp.bfloat16)
  keys = jax.random.split(jax.random.key(1))
  arrays['log_decay'] = -0.1 * jax.random.exponential(keys[0], tokens)
  if erases:
    arrays['beta'] = jax.random.uniform(keys[1], tokens)
  return arrays


def operation(
    w: Workload, **options: Any
) -> Callable[[Arrays], tuple[Any, ...]]:
  """Returns a function to outputs and state, or to outputs and gradients.

  Args:
    w: the workload; `backward` asks for gradients.
    **options: options of `pallas_kernels.prefix_linear_attention`.

  Returns:
    A function of the arrays that `prefix_linear_attention` above returns.
  """

  return differentiated(
      lambda arrays: pallas_kernels.prefix_linear_attention(
          **arrays, return_state=not w.backward, **options
      ),
      w,
  )


def differentiated(
    forward: Callable[[Arrays], Any], w: Workload
) -> Callable[[Arrays], Any]:
  """A function of arrays and `dy`, with gradients if the workload has them."""

  def function(arrays):
    arguments = {n: x for n, x in arrays.items() if n != 'dy'}
    if not w.backward:
      return forward(arguments)
    return with_gradients(forward, arguments, arrays['dy'])

  return function


def with_gradients(
    forward: Callable[[Arrays], Any], arguments: Arrays, cotangent: Any
) -> tuple[Any, Arrays]:
  """Calls `forward(arguments)`; also returns gradients for all floats."""
  others = 'prefix_len', 'segment_ids', 'mask'
  floats = {n: x for n, x in arguments.items() if n not in others}
  outputs, vjp = jax.vjp(lambda x: forward(arguments | x), floats)
  return outputs, vjp(cotangent)[0]
