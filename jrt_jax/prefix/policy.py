"""What a prefix policy is, and what it may look at."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jrt_jax.schema import Value

Prefix = Mapping[str, Any]  # `config.prefix`, as `fitting.fitted` returns it


class Example(NamedTuple):
  """What a policy may look at."""

  tokens: np.ndarray  # int [n], before any is masked
  capacity: int  # tokens that the model's prefix has room for
  prefix: Prefix
  rng: np.random.Generator  # the example's own

  @property
  def room(self) -> int:
    return min(self.capacity, len(self.tokens))


class Fit(NamedTuple):
  """What a policy has to know of data, and where it is from.

  Attributes:
    fields: gives what the file that has it must hold, and what it may, beside
      `policy`, `tokenizer` and `tokens`.
    rising: the one of them whose numbers must rise.
    written_by: the command that writes the file.
    measured: settings of the policy that it depends on.
    calibrate: maps windows, int [n] each, and `config.prefix` to what is in the
      file, if a run without a file can measure it itself.
    warn: tells of settings that do nothing, from P and `config.prefix`.
    of_windows: whether it was measured on whole windows, so that it says nothing
      of the documents of a window.
  """

  fields: Callable[[], tuple[Mapping[str, Value], Mapping[str, Value]]]
  rising: str
  written_by: str
  measured: tuple[str, ...] = ()
  calibrate: Callable[[Sequence[np.ndarray], Prefix], dict] | None = None
  warn: Callable[[int, Prefix], None] | None = None
  of_windows: bool = False


def share(prefix: Prefix, sequence_length: int) -> int:
  """`config.prefix.capacity` of L tokens.

  Rounded to the nearest length: .29 of 100 tokens is 28.999… in floats.
  """
  return round(prefix['capacity'] * sequence_length)


def _all_room(prefix, capacity, sequence_length):
  del prefix, sequence_length
  return capacity


class Policy(NamedTuple):
  """How much of a sequence is prefix.

  Attributes:
    length: maps an `Example` to the length of its prefix, within
      [0, len(example.tokens)].
    settings: keys of `config.prefix` that are its own.
    capacity: maps `config.prefix` and L to P, the static number of tokens that a
      prefix has room for; raises ValueError for an impossible setting.
    longest: maps `config.prefix`, P and L to the length of the longest prefix
      that occurs in training.
    mean: likewise, to the mean length.
    fills: whether every prefix takes all the room that there is.
    reads_prompt: whether `length` says how much of a prompt is prefix when it is
      continued; otherwise it is as much as there is room for.
    fit: what it has to know of data; None: nothing.
  """

  length: Callable[[Example], int]
  settings: tuple[str, ...] = ('capacity',)
  capacity: Callable[[Prefix, int], int] = share
  longest: Callable[[Prefix, int, int], int] = _all_room
  mean: Callable[[Prefix, int, int], float] = _all_room
  fills: bool = False
  reads_prompt: bool = False
  fit: Fit | None = None
