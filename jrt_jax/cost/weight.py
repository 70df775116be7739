"""The facts of a parameter of a model, and the axes of the mesh."""

from typing import NamedTuple

BATCH_AXES = ('data', 'fsdp')  # divide the rows of a batch
SEQUENCE_AXES = ('sequence',)  # divide the positions of a row
HEAD_AXES = ('tensor',)  # divide the heads of a mixer
AXES = (*BATCH_AXES, *SEQUENCE_AXES, *HEAD_AXES)

# How parameters are divided. `tensor` divides the vocabulary, heads and inner
# channels. These are the columns of projections into a mixer or MLP, and the
# rows of projections out of it, so that activations in between are never
# exchanged (except among groups of `hybrid_heads`). `fsdp` divides the other
# side, which is gathered when it is used. `sequence` divides no parameter.
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
    matrix: its axes of inputs and of outputs, if it is a matrix, or several
      matrices along the other axes. None: it is anything else. Optimizers such
      as Muon treat matrices differently.
  """

  shape: tuple[int, ...]
  axes: tuple[str | None, ...] = ()
  decays: bool = True
  uses: float = 0.0
  prefix_uses: float = 0.0
  matrix: tuple[int, int] | None = None


def kernel(shape: tuple[int, ...], axes: tuple[str | None, ...] = ()) -> Weight:
  """Returns a matrix that every token is multiplied by once.

  Args:
    shape: [inputs, outputs], with one axis more in front for several matrices,
      or [inputs, matrices, outputs] with the axes `IN_STACKED`.
    axes: see `Weight`.
  """
  last = len(shape) - 1
  matrix = (0, last) if axes == IN_STACKED else (last - 1, last)
  return Weight(shape, axes, uses=1.0, matrix=matrix)


def taps(shape: tuple[int, ...], axes: tuple[str | None, ...] = ()) -> Weight:
  """Returns the filters of a convolution, [taps, channels]."""
  return Weight(shape, axes, uses=1.0)


def for_prefix(weight: Weight) -> Weight:
  """Returns the same by which only tokens of the prefix are multiplied."""
  return weight._replace(uses=0.0, prefix_uses=weight.uses)


def bias(shape: tuple[int, ...], axes: tuple[str | None, ...] = ()) -> Weight:
  """Returns a bias, on which weight decay does not act."""
  return Weight(shape, axes, decays=False)
