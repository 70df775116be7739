"""Shapes of real models, by name, for benchmarks."""

from typing import NamedTuple


class Shape(NamedTuple):
  """Dimensions of one prefix linear attention layer."""

  H: int  # heads
  D: int  # width of queries and keys
  V: int  # width of values


# JRT-RNN, Arora et al. 2024, https://arxiv.org/abs/2407.05483.
SHAPES = {
    '360m': Shape(H=16, D=16, V=64),
    '1b': Shape(H=16, D=16, V=112),
}
