"""What Gated DeltaNet and Mamba-2 share: how rows pass through the recurrence."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flax import nnx
import jax

from jrt_jax.models import parallel
from jrt_jax.models.context import Context
from jrt_jax.models.short_conv import HeadsConv
import pallas_kernels


class Operands(NamedTuple):
  """What `pallas_kernels.gated_delta_rule` takes; for a token, without L."""

  q: jax.Array  # [B, L, G, D]
  k: jax.Array  # [B, L, G, D]
  v: jax.Array  # [B, L, H, V]
  log_decay: jax.Array  # float32 [B, L, H]
  beta: jax.Array | None = None  # float32 [B, L, H]


class Recurrence(nnx.Module):
  """Short convolutions, the gated delta rule, and what a subclass makes of it.

  A subclass says which projections are convolved, which operands follow from
  them, and how outputs leave the layer; it names its state. Padding, documents,
  states and meshes are handled here.
  """

  # A NamedTuple: the states of the convolutions, in the order of `_inputs`, then
  # `memory`, float32 [B, H, D, V].
  State: type[Any]

  def _inputs(self, x: jax.Array) -> tuple[tuple[HeadsConv, jax.Array], ...]:
    """Returns each convolution with the projection [..., I] that it reads."""
    raise NotImplementedError

  def _operands(self, x: jax.Array, *convolved: jax.Array) -> Operands:
    """Maps x [..., E] and the results of the convolutions to operands."""
    raise NotImplementedError

  def _out(
      self, x: jax.Array, y: jax.Array, *convolved: jax.Array
  ) -> jax.Array:
    """Maps the outputs [..., H, V] of the recurrence to [..., E]."""
    raise NotImplementedError

  def __call__(
      self,
      x: jax.Array,
      context: Context,
      *,
      state: Any = None,
      return_state: bool = False,
  ):
    """See `mixer.Mixer`."""
    *tails, memory = state or (None,)
    convolved, tails = convolve(self._inputs(x), context, tails)
    operands = self._operands(x, *convolved)
    y, memory = self._recur(operands, x, context, memory)
    y = self._out(x, y, *convolved)
    return (y, self.State(*tails, memory)) if return_state else y

  def _recur(
      self,
      operands: Operands,
      x: jax.Array,
      context: Context,
      memory: jax.Array | None,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the outputs [B, L, H, V] of rows x [B, L, E] and the memory."""
    del x
    return recur(
        operands,
        context.segment_ids,
        context.mask,
        memory,
        context.sequence_axes,
    )

  def step(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
    """See `mixer.Mixer`."""
    *tails, memory = state
    convolved, tails = zip(
        *(
            conv.step(u, tail)
            for (conv, u), tail in zip(self._inputs(x), tails, strict=True)
        )
    )
    y, memory = pallas_kernels.gated_delta_rule_step(
        *self._operands(x, *convolved), memory
    )
    return self._out(x, y, *convolved), self.State(*tails, memory)


def recur(
    operands: Operands,
    segment_ids: jax.Array | None,
    mask: jax.Array | None,
    memory: jax.Array | None,
    sequence_axes: Sequence[str] = (),
) -> tuple[jax.Array, jax.Array]:
  """Returns the outputs [B, L, H, V] and the memory after the last token.

  `sequence_axes` are the mesh axes that divide the positions.
  """
  return pallas_kernels.gated_delta_rule(
      *operands,
      initial_state=memory,
      return_state=True,
      segment_ids=segment_ids,
      mask=mask,
      batch_axes=parallel.BATCH_AXES,
      head_axes=parallel.HEAD_AXES,
      sequence_axes=sequence_axes,
  )


def convolve(
    inputs: Sequence[tuple[HeadsConv, jax.Array]],
    context: Context,
    tails: Sequence[jax.Array],
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
  """Convolves several projections [B, L, I] of the same rows.

  Args:
    inputs: convolutions, each with what it reads.
    context: of the rows.
    tails: the states of the convolutions; empty: there are no earlier tokens.

  Returns:
    The results, and the next states.
  """
  before = tails or (None,) * len(inputs)
  results = [
      conv(u, context, state=tail)
      for (conv, u), tail in zip(inputs, before, strict=True)
  ]
  convolved, following = zip(*results)
  return convolved, following
