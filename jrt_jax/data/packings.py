"""PACKINGS: how documents share a window, as one text or separated.

A packing maps a window, int [L + 1], and the id that ends a document to a
`Packed`. `examples.of_window` uses it.
"""

from typing import NamedTuple

import numpy as np

from jrt_jax.data import objectives


class Packed(NamedTuple):
  """How a window is divided into documents.

  Attributes:
    text: int [n], the tokens at the start of the window that may be prefix. The
      policy chooses the prefix as if this text were a sequence of its own.
    segment_ids: int32 [L + 1], the number of the document of each token, from
      0; None if the window is treated as one text.
  """

  text: np.ndarray
  segment_ids: np.ndarray | None = None


def concat(window: np.ndarray, eos_id: int) -> Packed:
  """Treats documents as one text: prefix and state continue across their ends.

  Source: Arora et al. 2024 (JRT-RNN), https://arxiv.org/abs/2407.05483, whose
  windows are cut from concatenated documents.
  """
  del eos_id
  return Packed(window[:-1])


def documents(window: np.ndarray, eos_id: int) -> Packed:
  """Separates documents, which do not see each other.

  The first document has the prefix, which is as long as if that document were a
  sequence of its own, so that some of it is left to predict.
  """
  ends = window == eos_id
  ids = np.cumsum(ends, dtype=np.int32) - ends
  return Packed(first_document(window[:-1], eos_id), ids)


PACKINGS = {
    'concat': concat,
    'documents': documents,
}


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


def first_document(tokens: np.ndarray, eos_id: int) -> np.ndarray:
  """Returns the tokens before the first end of a document, or all of them."""
  ends = np.flatnonzero(tokens == eos_id)
  return tokens[: ends[0]] if len(ends) else tokens
