"""The state of training, the train step and the evaluation step."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import optax

from jrt_jax.training import label_sums
from jrt_jax.training.loss import cross_entropy

Batch = Mapping[str, jax.Array]
Params = dict[str, jax.Array]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=('step', 'params', 'opt_state'),
    meta_fields=(),
)
@dataclasses.dataclass
class TrainState:
  """Everything that a checkpoint saves, except the place in the data."""

  step: jax.Array  # int32, batches read so far
  params: Params  # float32, by name
  opt_state: Any  # optimizer.SkipState


def init(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
  """The state before the first step."""
  return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


@dataclasses.dataclass(frozen=True)
class Steps:
  """The train and evaluation step of one model; the caller jits them.

  Attributes:
    merge: maps parameters to a model, from `models.split`.
    optimizer: from `optimizer.build`.
    prefix_capacity: prefixes lie in so many first positions of a row.
    mlm_weight: weight of the masked-token loss; the next-token loss has 1.
    accumulation: number of microbatches in a batch.
    z_loss: weight of the squares of log_z in each loss; see `loss`.
  """

  merge: Callable[[Params], Any]
  optimizer: optax.GradientTransformationExtraArgs
  prefix_capacity: int
  mlm_weight: float
  accumulation: int = 1
  z_loss: float = 0.0

  def train(self, state: TrainState, batch: Batch):
    """Returns the next state, and float32 metrics of this batch.

    Each loss is a mean over its labels in the whole batch, on all devices and
    in all microbatches. Training minimises the weighted sum of the losses.
    """
    weights = label_sums.weights(batch['supervision'], self.mlm_weight)
    batch = {**batch, 'weights': weights}
    (loss, sums), grads = self._value_and_grad(state.params, batch)
    updates, opt_state = self.optimizer.update(
        grads, state.opt_state, state.params, value=loss
    )
    params = optax.apply_updates(state.params, updates)
    counted = cast(Any, opt_state)  # a SkipState, which optax types as a tree
    metrics = {
        'loss': loss,
        **label_sums.means(sums),
        **({'z_loss': sums['z_loss']} if self.z_loss else {}),
        'loss_tokens': sums['next_token_count'] + sums['masked_token_count'],
        'grad_norm': counted.last_norm,
        'accepted': counted.accepted,
        'skipped': counted.skipped,
        'skipped_in_a_row': counted.consecutive,
    }
    return TrainState(state.step + 1, params, opt_state), metrics

  def jitted(self, state: TrainState):
    """Returns `train`, jitted for a sharded state, whose memory it reuses."""
    shardings = jax.tree.map(lambda x: x.sharding, state)
    return jax.jit(
        self.train, donate_argnums=0, out_shardings=(shardings, None)
    )

  def evaluate(self, params: Params, batch: Batch) -> dict[str, jax.Array]:
    """Returns float32 sums over the labels of a batch, for `label_sums.means`.

    If `batch` has `recallable`, bool [B, L], these labels are also summed
    separately.
    """
    weights = (batch['supervision'] != 0).astype(jnp.float32)
    return self._loss(params, {**batch, 'weights': weights})[1]

  def _value_and_grad(self, params, batch):
    """((loss, sums), gradients) of a whole batch."""
    microbatches = jax.tree.map(self._microbatches, batch)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size > mesh.shape['data']:
      return self._accumulate(params, microbatches)
    # Each device has all parameters and adds up the gradients of its own
    # microbatches. Gradients are exchanged once a step, in float32, rather than
    # once for each microbatch.
    return jax.shard_map(
        lambda *args: jax.lax.psum(self._accumulate(*args), 'data'),
        in_specs=(P(), P(None, 'data')),
        out_specs=P(),
        check_vma=False,
    )(params, microbatches)

  def _accumulate(self, params, microbatches):
    value_and_grad = jax.value_and_grad(self._loss, has_aux=True)

    def add(total, microbatch):
      new = value_and_grad(params, microbatch)
      return jax.tree.map(jnp.add, total, new), None

    first = jax.tree.map(lambda x: x[0], microbatches)
    if self.accumulation == 1:
      return value_and_grad(params, first)
    shapes = jax.eval_shape(value_and_grad, params, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, zeros, microbatches)[0]

  def _loss(self, params, batch):
    model = self.merge(params)
    hidden = model.hidden(
        batch['tokens'],
        prefix_len=batch.get('prefix_len'),
        prefix_mask=batch.get('prefix_mask'),
        prefix_capacity=self.prefix_capacity,
        segment_ids=batch.get('segment_ids'),
    )
    loss, losses = cross_entropy(
        hidden,
        params['embedding.embedding'],
        batch['targets'],
        batch['weights'],
        vocab_size=model.vocab_size,
        z_loss=self.z_loss,
    )
    sums = label_sums.sums(losses, batch)
    if self.z_loss:
      squares = batch['weights'] * jnp.square(losses.log_z)
      sums['z_loss'] = self.z_loss * jnp.sum(squares)
    return loss, sums

  def _microbatches(self, x):
    """[B, ...] to [accumulation, B / accumulation, ...].

    Neighbouring rows go to different microbatches, so that each device has a
    part of every microbatch.
    """
    x = x.reshape(-1, self.accumulation, *x.shape[1:])
    return jnp.swapaxes(x, 0, 1)
