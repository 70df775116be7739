"""Cross-entropy at supervised positions only, computed block by block."""

import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np

from jrt_jax.models.parallel import BATCH_AXES
from jrt_jax.models.parallel import HEAD_AXES
from jrt_jax.models.parallel import SEQUENCE_AXES
from pallas_kernels.sharding import free_axes

BLOCK = 64  # positions of each row in a block
_LOWEST = np.finfo(np.float32).min  # -inf - -inf would be NaN


class TokenLosses(NamedTuple):
  """The losses of single labels; 0 and False where there is no label."""

  nll: jax.Array  # float32 [B, L], nats
  correct: jax.Array  # bool [B, L], whether the label was the likeliest id
  log_z: jax.Array  # float32 [B, L], log Σ exp of the logits


def cross_entropy(
    hidden: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    *,
    vocab_size: int,
    z_loss: float = 0.0,
    block: int = BLOCK,
) -> tuple[jax.Array, TokenLosses]:
  """Returns the weighted sum of the losses of the targets.

  The loss of a target is its negative log-likelihood, and `z_loss` times the
  square of log_z (Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311).

  Logits are computed for `block` positions of each row at a time, and only for
  supervised positions: these come first in each row, and the loop ends when the
  row with the most of them is done. If gradients are needed, they are computed
  in the same pass, and logits have the dtype of `hidden`; otherwise logits are
  float32. On a mesh, devices divide the rows, their positions and the vocabulary
  as in `sharding`; the sum is over all labels.

  Args:
    hidden: [B, L, E], bfloat16 or float32.
    table: float32 [rows, E], the tied embedding; rows >= vocab_size.
    targets: int32 [B, L], each below vocab_size.
    weights: float32 [B, L], 0 where there is no label.
    vocab_size: number of ids; further rows of the table are padding and are
      excluded from the softmax.
    z_loss: how strongly log_z is drawn to 0.
    block: number of positions of each row whose logits exist at once.

  Returns:
    The float32 sum, differentiable in `hidden` and `table`, and the losses of
    single tokens, which are not.
  """
  loss, losses = _cross_entropy(
      hidden, table, targets, weights, vocab_size, z_loss, block
  )
  return loss, jax.tree.map(lax.stop_gradient, losses)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _cross_entropy(hidden, table, targets, weights, vocab_size, z_loss, block):
  visit = _on_mesh(vocab_size, z_loss, block, with_gradients=False)
  # Cast first, so that the devices gather fewer bytes.
  return visit(hidden, table.astype(hidden.dtype), targets, weights)[:2]


def _forward(hidden, table, targets, weights, vocab_size, z_loss, block):
  visit = _on_mesh(vocab_size, z_loss, block, with_gradients=True)
  loss, losses, gradients = visit(
      hidden, table.astype(hidden.dtype), targets, weights
  )
  return (loss, losses), gradients


def _backward(vocab_size, z_loss, block, gradients, cotangents):
  del vocab_size, z_loss, block
  dhidden, dtable = gradients
  dloss, _ = cotangents
  return dhidden * dloss.astype(dhidden.dtype), dtable * dloss, None, None


_cross_entropy.defvjp(_forward, _backward)


def _on_mesh(vocab_size, z_loss, block, with_gradients):
  """Returns `_visit`, run by each device on its positions and its ids."""
  visit = functools.partial(
      _visit,
      vocab_size=vocab_size,
      z_loss=z_loss,
      block=block,
      with_gradients=with_gradients,
  )
  free = free_axes()
  if not {'fsdp', *HEAD_AXES} <= free:
    return functools.partial(visit, vocab_axes=())
  batch, sequence = (
      tuple(axis for axis in axes if axis in free)
      for axes in (BATCH_AXES, SEQUENCE_AXES)
  )
  all_labels = batch + sequence  # axes that divide them
  others = tuple(axis for axis in all_labels if axis != 'fsdp')

  def local(hidden, table, targets, weights):
    loss, losses, gradients = visit(
        hidden, table, targets, weights, vocab_axes=HEAD_AXES
    )
    if with_gradients:
      dhidden, dtable = gradients
      dtable = lax.psum_scatter(dtable, 'fsdp', scatter_dimension=1, tiled=True)
      gradients = dhidden, lax.psum(dtable, others)
    return lax.psum(loss, all_labels), losses, gradients

  places, ids = P(batch, sequence), P(HEAD_AXES)
  shared = (places, P(HEAD_AXES, 'fsdp'))  # of dhidden and dtable
  return jax.shard_map(
      local,
      in_specs=(places, ids, places, places),
      out_specs=(P(), places, shared if with_gradients else ()),
      axis_names=free,
      check_vma=False,
  )


def _visit(
    hidden,
    table,
    targets,
    weights,
    *,
    vocab_size,
    z_loss,
    block,
    with_gradients,
    vocab_axes,
):
  """Returns the sum, the losses of tokens, and the gradients of some rows.

  `table` is cast already, and has the ids of one device along `vocab_axes`.
  """
  B, L, _ = hidden.shape
  rows = jnp.arange(B)[:, None]
  ids = jnp.arange(len(table)) + len(table) * lax.axis_index(vocab_axes)
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
    # A train step reads its logits twice, which is faster if they are narrow.
    product = jnp.einsum if with_gradients else _einsum
    logits = product('bce,ve->bcv', h, table)
    exists = ids < vocab_size
    nll, log_z, correct = _judge(logits, exists, target, ids, vocab_axes)
    losses = TokenLosses(
        losses.nll.at[at].set(nll, mode='drop'),
        losses.correct.at[at].set(correct, mode='drop'),
        losses.log_z.at[at].set(log_z, mode='drop'),
    )
    if with_gradients:
      dhidden, dtable = gradients
      p = jnp.where(exists, jnp.exp(logits - log_z[..., None]), 0)
      if z_loss:  # the derivative of log_z is p
        p *= (1 + 2 * z_loss * log_z)[..., None]
      dlogits = (p - (ids == target[..., None])) * weight[..., None]
      dlogits = dlogits.astype(hidden.dtype)
      dh = lax.psum(_einsum('bcv,ve->bce', dlogits, table), vocab_axes)
      gradients = (
          dhidden.at[at].set(dh.astype(hidden.dtype), mode='drop'),
          dtable + _einsum('bcv,bce->ve', dlogits, h),
      )
    if z_loss:
      nll += z_loss * jnp.square(log_z)
    return loss + jnp.sum(nll * weight), losses, gradients

  start = (
      jnp.float32(0),
      TokenLosses(
          jnp.zeros((B, L)), jnp.zeros((B, L), bool), jnp.zeros((B, L))
      ),
      (jnp.zeros_like(hidden), jnp.zeros(table.shape))
      if with_gradients
      else (),
  )
  return lax.fori_loop(0, blocks, body, start)


def _judge(logits, exists, target, ids, vocab_axes):
  """Returns the negative log-likelihood, log Σ exp, and whether it is correct.

  Each is [B, C]; the logits are [B, C, ids of this device].
  """
  local_best, local_first, z = _summary(
      jnp.where(exists, logits.astype(jnp.float32), _LOWEST)
  )
  best = lax.pmax(local_best, vocab_axes)
  z = lax.psum(z * jnp.exp(local_best - best), vocab_axes)
  log_z = best + jnp.log(z)
  place = target - ids[0]
  label = jnp.take_along_axis(
      logits, jnp.clip(place, 0, len(ids) - 1)[..., None], axis=-1
  )[..., 0]
  is_here = (place >= 0) & (place < len(ids))
  label = lax.psum(jnp.where(is_here, label, 0), vocab_axes)
  first = jnp.where(
      local_best == best,
      ids[local_first],
      jnp.iinfo(jnp.int32).max,
  )
  return log_z - label, log_z, lax.pmin(first, vocab_axes) == target


def _summary(x):
  """Returns the maximum of each row, its first index, and Σ exp(x - maximum).

  One pass (Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867).
  """
  index = lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)

  def join(a, b):
    (best_a, first_a, z_a), (best_b, first_b, z_b) = a, b
    best = jnp.maximum(best_a, best_b)
    is_a = (best_a > best_b) | ((best_a == best_b) & (first_a < first_b))
    z = z_a * jnp.exp(best_a - best) + z_b * jnp.exp(best_b - best)
    return best, jnp.where(is_a, first_a, first_b), z

  start = _LOWEST, jnp.int32(x.shape[-1]), jnp.float32(0)
  return lax.reduce((x, index, jnp.ones_like(x)), start, join, (x.ndim - 1,))


_einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
