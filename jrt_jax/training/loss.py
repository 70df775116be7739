"""Cross-entropy at supervised positions only, a block of them at a time."""

import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jrt_jax.training.sharding import BATCH_AXES

BLOCK = 64  # positions of every row at once


class TokenLosses(NamedTuple):
  """What the model made of each label; 0 and False where there is none."""

  nll: jax.Array  # float32 [B, L], nats
  correct: jax.Array  # bool [B, L], whether the label was the likeliest id


def cross_entropy(
    hidden: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    *,
    vocab_size: int,
    block: int = BLOCK,
) -> tuple[jax.Array, TokenLosses]:
  """The weighted sum of the negative log-likelihoods of the targets.

  Logits exist for `block` positions of a row at a time, and never for
  positions of weight 0: each row is visited with its supervised positions
  first, until the row with the most of them is done, so that no label is lost.
  Gradients are computed in the same visit. Rows may be sharded over the axes
  'data' and 'fsdp' of the mesh that is set; the sum is over all of them.

  Args:
    hidden: [B, L, E], bfloat16 or float32.
    table: float32 [rows, E], the tied embedding; rows >= vocab_size.
    targets: int32 [B, L], each below vocab_size.
    weights: float32 [B, L], 0 where there is no label.
    vocab_size: how many ids exist; further rows of the table are padding and
      take no part in the softmax.
    block: positions of every row whose logits exist at once.

  Returns:
    The float32 sum, differentiable in `hidden` and `table`, and the losses of
    single tokens, which are not.
  """
  loss, losses = _cross_entropy(
      hidden, table, targets, weights, vocab_size, block
  )
  return loss, jax.tree.map(lax.stop_gradient, losses)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _cross_entropy(hidden, table, targets, weights, vocab_size, block):
  visit = _over_rows(vocab_size, block, with_gradients=False)
  return visit(hidden, table, targets, weights)[:2]


def _forward(hidden, table, targets, weights, vocab_size, block):
  visit = _over_rows(vocab_size, block, with_gradients=True)
  loss, losses, gradients = visit(hidden, table, targets, weights)
  return (loss, losses), gradients


def _backward(vocab_size, block, gradients, cotangents):
  dhidden, dtable = gradients
  dloss, _ = cotangents
  return dhidden * dloss.astype(dhidden.dtype), dtable * dloss, None, None


_cross_entropy.defvjp(_forward, _backward)


def _over_rows(vocab_size, block, with_gradients):
  """`_visit` of the rows of each device, with sums over all of them."""
  visit = functools.partial(
      _visit,
      vocab_size=vocab_size,
      block=block,
      with_gradients=with_gradients,
  )
  mesh = jax.sharding.get_abstract_mesh()
  axes = tuple(a for a in BATCH_AXES if a in mesh.axis_names)
  if not axes:
    return visit

  def local(*args):
    loss, losses, gradients = visit(*args)
    if with_gradients:
      dhidden, dtable = gradients
      gradients = dhidden, lax.psum(dtable, axes)
    return lax.psum(loss, axes), losses, gradients

  rows, whole = PartitionSpec(axes), PartitionSpec()
  return jax.shard_map(
      local,
      in_specs=(rows, whole, rows, rows),
      out_specs=(whole, rows, (rows, whole) if with_gradients else ()),
      check_vma=False,
  )


def _visit(
    hidden, table, targets, weights, *, vocab_size, block, with_gradients
):
  B, L, E = hidden.shape
  table_cast = table.astype(hidden.dtype)
  rows = jnp.arange(B)[:, None]
  supervised = weights != 0
  count = supervised.sum(axis=1)
  order = jnp.argsort(~supervised, axis=1, stable=True)
  # Index L is out of bounds: read as 0, never written.
  order = jnp.where(jnp.arange(L) < count[:, None], order, L)
  order = jnp.pad(order, ((0, 0), (0, -L % block)), constant_values=L)
  blocks = -(-jnp.max(count, initial=0) // block)

  def body(i, carry):
    loss, losses, gradients = carry
    at = rows, lax.dynamic_slice_in_dim(order, i * block, block, axis=1)
    h = hidden.at[at].get(mode='fill', fill_value=0)
    target = targets.at[at].get(mode='fill', fill_value=0)
    weight = weights.at[at].get(mode='fill', fill_value=0)
    logits = _logits(h, table_cast, vocab_size)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    label = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
    nll = log_z - label
    correct = jnp.argmax(logits, axis=-1) == target
    losses = TokenLosses(
        losses.nll.at[at].set(nll, mode='drop'),
        losses.correct.at[at].set(correct, mode='drop'),
    )
    if with_gradients:
      dhidden, dtable = gradients
      ids = jnp.arange(len(table))
      p = jnp.exp(logits - log_z[..., None])
      dlogits = (p - (ids == target[..., None])) * weight[..., None]
      dlogits = dlogits.astype(hidden.dtype)
      dh = _einsum('bcv,ve->bce', dlogits, table_cast)
      gradients = (
          dhidden.at[at].set(dh.astype(hidden.dtype), mode='drop'),
          dtable + _einsum('bcv,bce->ve', dlogits, h),
      )
    return loss + jnp.sum(nll * weight), losses, gradients

  start = (
      jnp.float32(0),
      TokenLosses(jnp.zeros((B, L)), jnp.zeros((B, L), bool)),
      (jnp.zeros_like(hidden), jnp.zeros(table.shape))
      if with_gradients
      else (),
  )
  return lax.fori_loop(0, blocks, body, start)


def _logits(h, table, vocab_size):
  logits = _einsum('bce,ve->bcv', h, table)
  return jnp.where(jnp.arange(len(table)) < vocab_size, logits, -jnp.inf)


_einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
