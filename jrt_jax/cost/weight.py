"""What is to be known of a parameter of a model, and the axes of the mesh."""

from typing import NamedTuple

BATCH_AXES = ('data', 'fsdp')  # share the rows of a batch
HEAD_AXES = ('tensor',)  # share the heads of a mixer
AXES = (*BATCH_AXES, *HEAD_AXES)

# How parameters are divided: `tensor` shares the vocabulary, heads and inner
# channels, which are the columns of what leads into a mixer or MLP and the rows
# of what leads out of it, so that what is between them never moves (but between
# groups of `hybrid_heads`). `fsdp` shares the other side, which is gathered
# where it is used.
IN = ('fsdp', 'tensor')
IN_STACKED = ('fsdp', None, 'tensor')  # several projections of one input
OUT = ('tensor', 'fsdp')
BY_CHANNEL = (None, 'tensor')  # taps of a convolution, stacked biases


class Weight(NamedTuple):
  """A parameter.

  Attributes:
    shape: of the array.
    axes: the axis of the mesh that divides each of its first axes, or None;
      where nothing is said it is whole on every device.
    decays: whether weight decay acts on it. As in the official runs it acts on
      norm scales and taps of convolutions too.
    uses: how often each token is multiplied by it in a forward pass.
    prefix_uses: how often each token of the prefix is, besides.
  """

  shape: tuple[int, ...]
  axes: tuple[str | None, ...] = ()
  decays: bool = True
  uses: float = 0.0
  prefix_uses: float = 0.0


def kernel(shape: tuple[int, ...], axes: tuple[str | None, ...] = ()) -> Weight:
  """A matrix by which every token is multiplied once."""
  return Weight(shape, axes, uses=1.0)


def bias(shape: tuple[int, ...], axes: tuple[str | None, ...] = ()) -> Weight:
  """What is added to a product; weight decay spares it."""
  return Weight(shape, axes, decays=False)
