"""How the documents that share a window are kept apart, or not.

A packing maps `(window, *, policy, make_example, eos_id, rng)` to an example:
  window: int [L + 1], consecutive tokens of the stream.
  policy: maps `(tokens, rng=)` to the prefix length of tokens that are a whole
    sequence, as `policies.of_document` does.
  make_example: maps `(window, prefix_len, rng=)` to an example, as in
    `objectives.py`.
  eos_id: the id that ends a document.
  rng: np.random.Generator, the example's own.
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
  """Documents are one text: the prefix and the state run over their ends.

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
  """Documents do not see each other.

  The example has `segment_ids` too, int32 [L], its documents counted from 0.
  The first document has the prefix, as long as if it were a sequence of its
  own, so that some of it is left to predict; masks lie in the prefix. The end
  of a document does not predict the next one.
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
  """Returns int [L + 1] in which the first document of a window stands twice.

  At most half of the window is repeated, and without the end of the document:
  x[:n] is followed by x[: L + 1 - n], where n is the length of the document, or
  L // 2 if that is less. So the text after its second reading is the one that
  came after it anyway. A window that begins with the end of a document stays as
  it is.

  Source: prompts that are read twice, as JRT-Prompt of
  https://arxiv.org/abs/2407.05483 makes them; training on them is ours.
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
