"""Linear attention over a prefix of documents that do not see each other.

This is what `documents.read`, the sum over documents, and decoding compute, for
training: in one pass, with gradients.
"""

from typing import Any

import jax
from jax import lax
import jax.numpy as jnp

from jrt_jax.models.context import Context
from jrt_jax.models.head_group import HeadGroup
from jrt_jax.models.head_group import State


def attend(
    group: HeadGroup,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array,
    v_enc: jax.Array,
    *,
    context: Context,
    state: State | None,
    **options: Any,
) -> tuple[jax.Array, State | None]:
  """As `HeadGroup.attend`, for a context with `documents_in_prefix`.

  Tokens of a document see its own sums and causal keys, as if it were alone.
  Later tokens see the sums of all documents, and the causal keys of each other.
  Documents may have any lengths: the prefix is read once for each of them.
  """
  P = context.prefix_capacity
  inside, ids = context.in_prefix(), context.segment_ids[:, :P]
  q_prefix, k_prefix, v_prefix = (x[:, :P] for x in (q, k, v))

  @jax.checkpoint
  def read(number):
    own = inside & (ids == number)
    sums = group.prefix_sums(k_enc, v_enc, own)
    y, _ = group.attend(
        q_prefix,
        k_prefix,
        v_prefix,
        None,
        None,
        context=Context(*own.shape, mask=own, prefix_in_state=True),
        state=group.with_prefix(None, sums),
        return_state=False,
    )
    return sums, jnp.where(own[..., None, None], y, 0)

  def add(total, number):
    return jax.tree.map(jnp.add, total, read(number)), None

  nothing = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(read, 0)
  )
  numbers = jnp.arange(context.documents_in_prefix)
  (sums, of_documents), _ = lax.scan(add, nothing, numbers)
  y, state = group.attend(
      q,
      k,
      v,
      None,
      None,
      context=context.after_prefix()._replace(segment_ids=None),
      state=group.with_prefix(state, sums),
      **options,
  )
  first = jnp.where(inside[..., None, None], of_documents, y[:, :P])
  return jnp.concatenate([first, y[:, P:]], axis=1), state
