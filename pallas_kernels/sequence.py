"""A recurrence whose positions are shared by several devices.

Each device reads its own part of every row. What a part does to a state is its
*transition*, whose size does not depend on the length of the part. Devices
exchange transitions, and nothing else, to know the state before their part.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp


def fold(
    apply: Callable[[Any, Any], Any],
    transition: Any,
    initial: Any,
    axes: Sequence[str],
) -> tuple[Any, Any]:
  """Returns the state before the part of this device, and after the last part.

  Every device receives all n transitions in one exchange and applies them one
  after another. A scan in log2(n) exchanges would send (n - 1) / log2(n) times
  fewer bytes, but each exchange would wait for the one before it, the last
  state would have to be sent as well, and transitions would have to be joined
  to one another, which costs more than to apply them if they are matrices.
  For few rows, transitions are small, and the number of exchanges decides the
  time. (No GPU has timed either.)

  Args:
    apply: maps a transition and the state before a part to the state after it.
    transition: a pytree of arrays, that of this device.
    initial: a pytree of arrays, the state before the first part, the same on
      all devices.
    axes: the mapped axes of the mesh that share the positions, in order.
  """
  transitions = lax.all_gather(transition, tuple(axes))
  own = lax.axis_index(tuple(axes))

  def read(carry, part):
    state, before = carry
    device, transition = part
    keep = lambda x, y: jnp.where(device == own, x, y)
    before = jax.tree.map(keep, state, before)
    return (apply(transition, state), before), None

  devices = jnp.arange(lax.axis_size(tuple(axes)))
  (last, before), _ = lax.scan(read, (initial, initial), (devices, transitions))
  return before, last


class Documents(NamedTuple):
  """Where packed documents begin, as seen from the part of one device.

  Attributes:
    begins: bool [B], whether a document begins with the first position.
    is_first: bool [B], whether the document before the first position is the
      first of its row.
    keeps: bool [B], whether no document begins in the part, so that its last
      position belongs to the same document as the position before it.
  """

  begins: jax.Array
  is_first: jax.Array
  keeps: jax.Array

  @classmethod
  def of(cls, ids: jax.Array, axes: Sequence[str]) -> 'Documents':
    """Those of `ids` int32 [B, L], of which documents differ from the last one.

    Three integers of each row are exchanged.
    """
    is_split = jnp.any(ids[:, 1:] != ids[:, :-1], axis=1)
    ends = jnp.stack([ids[:, 0], ids[:, -1], is_split.astype(ids.dtype)])
    first, last, is_split = jnp.moveaxis(lax.all_gather(ends, axes), 1, 0)
    begins = jnp.pad(first[1:] != last[:-1], ((1, 0), (0, 0)))  # [n, B]
    keeps = ~begins & (is_split == 0)
    is_first = jnp.pad(
        jnp.cumprod(keeps[:-1], axis=0), ((1, 0), (0, 0)), constant_values=1
    )
    own = lax.axis_index(axes)
    return cls(*(x[own] for x in (begins, is_first == 1, keeps)))
