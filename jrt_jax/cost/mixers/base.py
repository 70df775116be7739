"""What is to be known of every mixer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jrt_jax.cost.weight import BATCH_AXES
from jrt_jax.cost.weight import Weight

ITEM_BYTES = {'bfloat16': 2, 'float32': 4}  # by `config.model.dtype`

Config = Mapping[str, Any]  # `config.model`


class Mixer(NamedTuple):
  """The facts of a mixer; one layer of it, where they are numbers.

  Attributes:
    module: 'package.module:function'; the function makes the nnx module from
      `models.layers.Build` and `config.model`.
    weights: its parameters, by name.
    state_bytes: that decoding keeps of so many tokens.
    products: multiplications per token between activations, over all heads, of
      sequences of so many tokens with so large a fraction in their prefix.
    kept: values per token that a training step keeps for its backward pass,
      where prefixes have room for so large a fraction: what products with
      weights give, and all of them.
    state_axes: the axes of the mesh that divide each axis of the arrays of its
      decode state; those that have fewer axes have the first of these.
    reads_prefix: whether it sees the whole prefix at every position; such a
      module has `read_prefix`.
    state_grows: whether its state is the KVCache of all tokens.
    linear_attention: whether `pallas_kernels.prefix_linear_attention` computes
      it, as `config.model.implementation` says.
  """

  module: str
  weights: Callable[[Config], Mapping[str, Weight]]
  state_bytes: Callable[[Config, int], int]
  products: Callable[[Config, int, float], float]
  kept: Callable[[Config, float], tuple[float, float]]
  state_axes: tuple[tuple[str, ...] | None, ...] = (BATCH_AXES,)
  reads_prefix: bool = False
  state_grows: bool = False
  linear_attention: bool = False


def head_width(width: int, num_heads: int, *, rotary: bool = False) -> int:
  """Returns V, the width of each head; ValueError if heads do not fit."""
  multiple = (2 if rotary else 1) * num_heads
  if width % multiple:
    what = 'rotary embeddings in ' if rotary else ''
    raise ValueError(
        f'config.model.width must be a multiple of {multiple} for {what}'
        f'{num_heads} heads, got {width}'
    )
  return width // num_heads
