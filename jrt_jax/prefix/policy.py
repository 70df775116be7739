"""The interface of prefix policies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jrt_jax.schema import Value

Prefix = Mapping[str, Any]  # `config.prefix`, as `fitting.fitted` returns it


class Example(NamedTuple):
  """The inputs of a policy."""

  tokens: np.ndarray  # int [n], before masking
  capacity: int  # the most tokens of the model's prefix
  prefix: Prefix
  rng: np.random.Generator  # the example's own

  @property
  def room(self) -> int:
    return min(self.capacity, len(self.tokens))


class Fit(NamedTuple):
  """How a policy is fitted to data.

  Attributes:
    fields: returns the required and the optional fields of the policy's file,
      besides `policy`, `tokenizer` and `tokens`.
    rising: the field whose numbers must rise.
    written_by: the command that writes the file.
    measured: settings of the policy on which the file depends.
    calibrate: a function from windows, int [n] each, and `config.prefix` to the
      content of the file, if a run without a file can fit the policy itself.
    warn: a function of P and `config.prefix` that warns of settings without
      effect.
    of_windows: whether it was fitted to whole windows, and so is not valid for
      the documents in a window.
  """

  fields: Callable[[], tuple[Mapping[str, Value], Mapping[str, Value]]]
  rising: str
  written_by: str
  measured: tuple[str, ...] = ()
  calibrate: Callable[[Sequence[np.ndarray], Prefix], dict] | None = None
  warn: Callable[[int, Prefix], None] | None = None
  of_windows: bool = False


def share(prefix: Prefix, sequence_length: int) -> int:
  """The share `config.prefix.capacity` of L tokens.

  It is rounded to the nearest length: .29 of 100 tokens is 28.999… in floats.
  """
  return round(prefix['capacity'] * sequence_length)


def _all_room(prefix, capacity, sequence_length):
  del prefix, sequence_length
  return capacity


class Policy(NamedTuple):
  """A prefix policy: it decides how much of a sequence is prefix.

  Attributes:
    length: a function from an `Example` to the length of its prefix, in
      [0, len(example.tokens)].
    settings: keys of `config.prefix` that only this policy reads.
    capacity: a function from `config.prefix` and L to P, the static capacity of
      a prefix; it raises ValueError for an invalid setting.
    longest: a function from `config.prefix`, P and L to the length of the
      longest prefix in training.
    mean: a function of the same arguments to the mean length.
    fills: whether every prefix uses the full capacity.
    reads_prompt: whether `length` also decides how much of a prompt is prefix
      in generation; otherwise the prefix is as long as the capacity allows.
    fit: how it is fitted to data; None: it is not.
  """

  length: Callable[[Example], int]
  settings: tuple[str, ...] = ('capacity',)
  capacity: Callable[[Prefix, int], int] = share
  longest: Callable[[Prefix, int, int], int] = _all_room
  mean: Callable[[Prefix, int, int], float] = _all_room
  fills: bool = False
  reads_prompt: bool = False
  fit: Fit | None = None
