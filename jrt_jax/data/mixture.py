"""Several texts that a run reads in proportion to their weights."""

from collections.abc import Mapping, Sequence
import os
import re
from typing import NamedTuple
import zlib

from jrt_jax.data import streams


class Part(NamedTuple):
  """One text of a mixture.

  Attributes:
    name: short, and different from those of other parts.
    share: the share of training sequences that are from it; shares add up to 1.
    tokens: its tokens.
  """

  name: str
  share: float
  tokens: streams.TokenStream


class Mixture(streams.TokenStream):
  """Texts one after another, and the share of each.

  Training reads sequences of each text by its share. What reads the tokens as
  one stream, such as a count of pairs, reads each token once.

  Args:
    parts: the texts; their order and shares are parts of the fingerprint.
  """

  def __init__(self, parts: Sequence[Part]):
    contents = repr([(part.share, part.tokens.fingerprint) for part in parts])
    super().__init__(
        [array for part in parts for array in part.tokens.arrays],
        f'{zlib.crc32(contents.encode()):08x}',
    )
    self.parts = tuple(parts)


def of(
    data: Mapping, splits: Sequence[Mapping[str, streams.TokenStream]]
) -> dict[str, Mixture]:
  """Returns the mixtures of the training texts and of the held-out texts.

  Args:
    data: `config.data`.
    splits: the splits of each text of `config.data.mixture`.
  """
  weights = [weight for _, weight in data['mixture']]
  shares = [weight / sum(weights) for weight in weights]
  of_part = list(zip(names(data['mixture']), shares, splits))
  return {
      split: Mixture([Part(name, x, own[split]) for name, x, own in of_part])
      for split in ('train', 'validation')
  }


def names(mixture: Sequence[tuple[str, float]]) -> list[str]:
  """Returns a name for each text: its path, without folders that all share.

  Args:
    mixture: `config.data.mixture`.

  Raises:
    ValueError: two paths are the same.
  """
  paths = [os.path.abspath(os.path.expanduser(path)) for path, _ in mixture]
  common = os.path.commonpath([os.path.dirname(path) for path in paths])
  found = [
      re.sub(r'[^\w./-]', '_', os.path.relpath(path, common)) for path in paths
  ]
  for name, (path, _) in zip(found, mixture):
    if found.count(name) > 1:
      raise ValueError(
          f'config.data.mixture must name different paths, got {path!r} twice'
      )
  return found


def check(data: Mapping) -> None:
  """Raises ValueError if a mixture and another key say what to read."""
  for key in ('path', 'validation_path'):
    if data['mixture'] and data[key]:
      raise ValueError(
          f'config.data.{key} must be empty with config.data.mixture, whose'
          f' paths have held-out text of their own, got {data[key]!r}'
      )
