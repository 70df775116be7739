"""The facts of a parameter of a model, and the axes of the mesh."""

from typing import NamedTuple

BATCH_AXES = ('data', 'fsdp')  # divide the rows of a batch
HEAD_AXES = ('tensor',)  # divide the heads of a mixer
AXES = (*BATCH_AXES, *HEAD_AXES)

# How parameters are divided. `tensor` divides the vocabulary, heads and inner
# channels. These are the columns of projections into a mixer or MLP, and the
# rows of projections out of it, so that activations in between are never
# exchanged (except among groups of `hybrid_heads`). `fsdp` divides the other
# side, which is gathered when it is used.
IN = ('fsdp', 'tensor')
IN_STACKED = ('fsdp', None, 'tensor')  # several projections of one input
OUT = ('tensor', 'fsdp')
BY_CHANNEL = (None, 'tensor')  # taps of a convolution, stacked biases


class Weight(NamedTuple):
  """A parameter.

  Attributes:
    shape: the shape of the array.
    axes: for each of its first axes, the axis of the mesh that divides it, or
      None; other axes are not divided.
    decays: whether weight decay acts on it. As in the official runs, it also
      acts on norm scales and taps of convolutions.
    uses: how often each token is multiplied by it in a forward pass.
    prefix_uses: how often each token of the prefix is multiplied by it in
      addition.
  """

  shape: tuple[int, ...]
  axes: tuple[str | None, ...] = ()
  decays: bool = True
  uses: float = 0.0
  prefix_uses: float = 0.0


def kernel(shape: tuple[int, ...], axes: tuple[str | None, ...] = ()) -> Weight:
  """Returns a matrix that every token is multiplied by once."""
  return Weight(shape, axes, uses=1.0)


def bias(shape: tuple[int, ...], axes: tuple[str | None, ...] = ()) -> Weight:
  """Returns a bias, on which weight decay does not act."""
  return Weight(shape, axes, decays=False)
