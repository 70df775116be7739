"""How documents share a window: as one text, or separated.

A packing maps `(window, *, policy, make_example, eos_id, rng)` to an example:
  window: int [L + 1], consecutive tokens of the stream.
  policy: maps `(tokens, rng=)` to a prefix length, as `policies.of_document`.
  make_example: maps `(window, prefix_len, rng=)` to an example, as in
    `objectives.py`.
  eos_id: the id that ends a document.
  rng: np.random.Generator of this example.
"""

from collections.abc import Callable

import numpy as np

from jrt_jax.data import objectives


def concat(
    window: np.ndarray,
    *,
    policy: Callable[..., int],
    make_example: Callable[..., dict],
    eos_id: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
  """Treats documents as one text: prefix and state continue across their ends.

  Source: Arora et al. 2024 (JRT-RNN), https://arxiv.org/abs/2407.05483, whose
  windows are cut from concatenated documents.
  """
  del eos_id
  prefix_len = policy(window[:-1], rng=rng)
  return make_example(window, prefix_len, rng=rng)


def documents(
    window: np.ndarray,
    *,
    policy: Callable[..., int],
    make_example: Callable[..., dict],
    eos_id: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
  """Separates documents, which do not see each other.

  The example also has `segment_ids`, int32 [L], the number of the document of
  each position, from 0. The first document has the prefix, which is as long as
  if that document were a sequence of its own, so that some of it is left to
  predict. The end of a document does not predict the next one.
  """
  tokens = window[:-1]
  ends = tokens == eos_id
  prefix_len = policy(first_document(tokens, eos_id), rng=rng)
  example = make_example(window, prefix_len, rng=rng)
  crossing = ends & (example['supervision'] == objectives.NEXT_TOKEN)
  example['targets'][crossing] = 0
  example['supervision'][crossing] = objectives.UNSUPERVISED
  example['segment_ids'] = np.cumsum(ends, dtype=np.int32) - ends
  return example


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


PACKINGS = {
    'concat': concat,
    'documents': documents,
}
