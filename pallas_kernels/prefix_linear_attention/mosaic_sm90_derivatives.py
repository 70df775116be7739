"""The kernels for Hopper GPUs as differentiable functions."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward
from pallas_kernels.prefix_linear_attention import mosaic_sm90_state
from pallas_kernels.prefix_linear_attention.mosaic_sm90_documents import Documents
from pallas_kernels.prefix_linear_attention.mosaic_sm90_tiles import Tiles


class Launch(NamedTuple):
  """Settings of the launches."""

  tiles: Tiles
  normalizer: str = 'sum'
  return_state: bool = True  # whether the final state is written
  interpret: Any = None  # parameters of the interpreter; None to compile


def _once(run: Callable[..., Any], arguments: tuple[int, ...]):
  """Returns `run`, which raises an error when differentiated twice."""
  run = jax.custom_jvp(run, nondiff_argnums=arguments)

  @run.defjvp
  def refuse(*_):
    raise NotImplementedError(
        'mosaic_sm90 has first derivatives only, in reverse mode:'
        " implementation='reference' has all"
    )

  return run


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def attend(
    launch: Launch,
    length: int,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array | None,
    v_enc: jax.Array | None,
    prefix_len: jax.Array | None,
    kv_t: jax.Array | None,
    gram: jax.Array | None,
    documents: Documents | None = None,
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
  """Outputs, and `kv_t` and `gram` after `length` tokens.

  `mosaic_sm90_forward.forward` describes the arrays. The cotangent of a result
  that is not returned is None.
  """
  arrays = q, k, v, k_enc, v_enc, prefix_len, kv_t, gram, documents
  return _attend_forward(launch, length, *arrays)[0]


# Separate functions in a program, so that layers of equal shapes share one
# lowering of the kernels, which takes seconds.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _attend_forward(launch, length, *arrays):
  y, inv_z, kv_t, gram = mosaic_sm90_forward.forward(
      *arrays,
      length=length,
      config=launch.tiles.forward,
      normalizer=launch.normalizer,
      return_state=launch.return_state,
      interpret=launch.interpret,
  )
  return (y, kv_t, gram), (arrays, y, inv_z)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _attend_backward(launch, _, residuals, cotangents):
  (*arrays, documents), y, inv_z = residuals
  # The backward pass uses y for the dependence on the divisor; there is none if
  # the divisor is a constant.
  if launch.normalizer == 'none':
    y = jnp.zeros_like(y)
  elif launch.normalizer == 'clamp':
    y = jnp.where(jnp.swapaxes(inv_z, 1, 2)[..., None] < 1, y, 0)
  dq, dk, dv, dk_enc, dv_enc, dkv_t, dgram = mosaic_sm90_backward.backward(
      *arrays,
      y,
      inv_z,
      *cotangents,  # of y: 0 beyond `length`, which is cut off
      documents,
      config=launch.tiles.backward,
      interpret=launch.interpret,
  )
  return dq, dk, dv, dk_enc, dv_enc, None, dkv_t, dgram, None


attend.defvjp(_once(_attend_forward, (0, 1)), _once(_attend_backward, (0, 1)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def final_state(
    launch: Launch,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    end: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """`kv_t` and `gram` after the first `lengths` tokens of each row.

  `mosaic_sm90_state.final_state` describes the arrays.
  """
  return mosaic_sm90_state.final_state(
      k, v, lengths, end, interpret=launch.interpret
  )


def _state_forward(launch, *arrays):
  return final_state(launch, *arrays), arrays


def _state_backward(launch, arrays, cotangents):
  *arrays, end = arrays
  dk, dv = mosaic_sm90_backward.state_backward(
      *arrays,
      *cotangents,
      end,
      config=launch.tiles.backward,
      interpret=launch.interpret,
  )
  return dk, dv, None, None


final_state.defvjp(_once(_state_forward, (0,)), _once(_state_backward, (0,)))
