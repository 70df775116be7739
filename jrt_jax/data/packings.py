"""PACKINGS: how documents share a window, as one text or separated.

`Packing.divide` maps a window, int [L + 1], and the id that ends a document to
a `Packed`. `examples.of_window` uses it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jrt_jax.data import objectives
from jrt_jax.prefix import policies


class Piece(NamedTuple):
  """A part of a window that starts with a prefix.

  Attributes:
    window: int [n + 1], its tokens and the token after them.
    text: int [m], the first tokens, which may be prefix. The policy chooses the
      prefix as if this text were a sequence of its own.
  """

  window: np.ndarray
  text: np.ndarray


class Packed(NamedTuple):
  """How a window is divided into documents.

  Attributes:
    pieces: parts of the window that make it up, in order.
    segment_ids: int32 [L + 1], the number of the document of each token, from
      0; None if the window is treated as one text.
  """

  pieces: list[Piece]
  segment_ids: np.ndarray | None = None


def concat(window: np.ndarray, eos_id: int) -> Packed:
  """Treats documents as one text: prefix and state continue across their ends.

  Source: Arora et al. 2024 (JRT-RNN), https://arxiv.org/abs/2407.05483, whose
  windows are cut from concatenated documents.
  """
  del eos_id
  return Packed([Piece(window, window[:-1])])


def documents(window: np.ndarray, eos_id: int) -> Packed:
  """Separates documents, which do not see each other.

  The first document has the prefix, which is as long as if that document were a
  sequence of its own, so that some of it is left to predict.
  """
  text = first_document(window[:-1], eos_id)
  return Packed([Piece(window, text)], _numbers(window, eos_id))


def prefixed_documents(window: np.ndarray, eos_id: int) -> Packed:
  """Separates documents, each of which has a prefix of its own.

  Each document becomes an example as if it were a sequence of its own.
  """
  ids = _numbers(window, eos_id)
  starts = np.flatnonzero(np.diff(ids[:-1], prepend=-1))
  stops = [*starts[1:], len(window) - 1]
  pieces = [
      Piece(window[a : b + 1], first_document(window[a:b], eos_id))
      for a, b in zip(starts, stops)
  ]
  return Packed(pieces, ids)


class Packing(NamedTuple):
  """The facts of a packing.

  Attributes:
    divide: see the module docstring.
    separates: whether documents do not see each other. Then batches have
      `segment_ids`.
    prefix_of_each: whether each document has a prefix, rather than each row.
      Then batches have `prefix_mask` instead of `prefix_len`.
  """

  divide: Callable[[np.ndarray, int], Packed]
  separates: bool = False
  prefix_of_each: bool = False


PACKINGS = {
    'concat': Packing(concat),
    'documents': Packing(documents, separates=True),
    'prefixed_documents': Packing(
        prefixed_documents, separates=True, prefix_of_each=True
    ),
}


def prefix_capacity(config: Mapping[str, Any]) -> int:
  """Returns P: all prefixes lie in the first P positions of a row.

  Args:
    config: the config of a run.
  """
  L = config['sequence_length']
  P = policies.prefix_capacity(config['prefix'], L)
  # The last document of a row may have a prefix, too.
  return L if P and PACKINGS[config['data']['packing']].prefix_of_each else P


def separate(
    example: dict[str, np.ndarray], segment_ids: np.ndarray | None
) -> dict[str, np.ndarray]:
  """Returns an example without next-token labels across documents.

  It also has `segment_ids`, int32 [L], unless they are None.

  Args:
    example: an example of L positions; it is changed.
    segment_ids: int32 [L + 1], see `Packed`.
  """
  if segment_ids is None:
    return example
  crosses = np.diff(segment_ids) != 0
  crosses &= example['supervision'] == objectives.NEXT_TOKEN
  example['targets'][crosses] = 0
  example['supervision'][crosses] = objectives.UNSUPERVISED
  return {**example, 'segment_ids': segment_ids[:-1]}


def repeated(window: np.ndarray, eos_id: int) -> np.ndarray:
  """Returns int [L + 1] with the first document of a window shown twice.

  x[:n] is followed by x[: L + 1 - n], where n is the length of the document
  without its end, but at most L // 2. So the second copy is followed by the
  text that followed the document anyway. A window that starts with the end of a
  document is unchanged.

  Source: JRT-Prompt of https://arxiv.org/abs/2407.05483, which shows prompts
  twice; training on such text is ours.
  """
  L = len(window) - 1
  again = first_document(window[: L // 2], eos_id)
  return np.concatenate([again, window])[: L + 1]


def _numbers(window, eos_id):
  ends = window == eos_id
  return np.cumsum(ends, dtype=np.int32) - ends


def first_document(tokens: np.ndarray, eos_id: int) -> np.ndarray:
  """Returns the tokens before the first end of a document, or all of them."""
  ends = np.flatnonzero(tokens == eos_id)
  return tokens[: ends[0]] if len(ends) else tokens
