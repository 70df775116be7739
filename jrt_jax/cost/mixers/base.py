"""The facts that every mixer must state.

`jrt_jax/models/mixer.py` says what its module must compute.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

from jrt_jax.cost.weight import BATCH_AXES
from jrt_jax.cost.weight import HEAD_AXES
from jrt_jax.cost.weight import Weight

ITEM_BYTES = {'bfloat16': 2, 'float32': 4}  # by `config.model.dtype`

Config = Mapping[str, Any]  # `config.model`


class Mixer(NamedTuple):
  """The facts of a mixer; numbers are those of one layer.

  Attributes:
    module: 'package.module:function'; the function makes the nnx module from
      `models.layers.Build` and `config.model`.
    weights: maps `config.model` to its parameters, by name.
    state_bytes: maps `config.model` and a number of tokens to the bytes of the
      decode state.
    products: maps `config.model`, the length of sequences and the fraction of
      prefix tokens to the multiplications between activations per token, over
      all heads.
    kept: maps `config.model` and the largest fraction of prefix tokens to two
      numbers of values per token that training keeps for the backward pass: the
      outputs of products with weights, and all values.
    kept_of_row: maps `config.model` to the bytes that training keeps in
      addition for each sequence with a prefix, whatever its length.
    gathered: maps `config.model` to the number of values per token that each
      device keeps of whole rows where devices divide their positions.
    reach: maps `config.model` to the least number of positions that a device
      must have where devices divide rows: as many as the next device sees of
      them in a window or a convolution. Infinite: it needs whole rows.
    state_axes: for each axis of the arrays of its decode state, the axes of the
      mesh that divide it; arrays with fewer axes use the first of these.
    model_heads: whether it has the heads of `config.model.num_heads`.
    settings: the keys of `config.model` that only it reads, or it and other
      mixers which name them too, such as 'gdn.key_dim'.
    reads_prefix: whether every position sees the whole prefix; then its module
      has `read_prefix`.
    state_grows: whether its state is a KVCache of all tokens.
    linear_attention: whether `pallas_kernels.prefix_linear_attention` computes
      it, with `config.model.implementation`.
  """

  module: str
  weights: Callable[[Config], Mapping[str, Weight]]
  state_bytes: Callable[[Config, int], int]
  products: Callable[[Config, int, float], float]
  kept: Callable[[Config, float], tuple[float, float]]
  kept_of_row: Callable[[Config], int] = lambda config: 0
  gathered: Callable[[Config], int] = lambda config: 0
  reach: Callable[[Config], float] = lambda config: 0
  state_axes: tuple[tuple[str, ...] | None, ...] = (BATCH_AXES,)
  model_heads: bool = False
  settings: tuple[str, ...] = ()
  reads_prefix: bool = False
  state_grows: bool = False
  linear_attention: bool = False


def of_heads(
    *modules: str,
    weights: Callable[..., Mapping[str, Weight]],
    products: Callable[..., float],
    kept: Callable[..., tuple[float, float]],
    **facts: Any,
) -> list[Mixer]:
  """Returns the facts of a mixer without a prefix, and of that with one.

  Their state is a matrix for each head.

  Args:
    *modules: `Mixer.module` of both.
    weights, products, kept: see `Mixer`; these also take `reads_prefix`.
    **facts: all others of `Mixer`.
  """
  return [
      Mixer(
          module=module,
          weights=functools.partial(weights, reads_prefix=reads_prefix),
          products=functools.partial(products, reads_prefix=reads_prefix),
          kept=functools.partial(kept, reads_prefix=reads_prefix),
          state_axes=(BATCH_AXES, HEAD_AXES),
          reads_prefix=reads_prefix,
          **facts,
      )
      for module, reads_prefix in zip(modules, (False, True), strict=True)
  ]


def head_width(width: int, num_heads: int, *, rotary: bool = False) -> int:
  """Returns V, the width of each head; ValueError if it is not whole."""
  multiple = (2 if rotary else 1) * num_heads
  if width % multiple:
    what = 'rotary embeddings in ' if rotary else ''
    raise ValueError(
        f'config.model.width must be a multiple of {multiple} for {what}'
        f'{num_heads} heads, got {width}'
    )
  return width // num_heads
