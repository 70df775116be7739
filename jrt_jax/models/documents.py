"""What a model keeps of documents that it reads independently of each other.

A document is read as one prefix, from empty states. In each `pla` layer its
keys and values enter sums (`LinearAttentionState.prefix_sums`), and nothing
else of it is kept. Sums of several documents are added, and become the prefix
in the states of a text that follows. Everything else in these states is empty:
the causal half of `pla` layers, and all that other mixers keep.

In the first `pla` layer, if no mixer is before it that looks at other tokens,
the sums are those of one prefix with all documents. In later layers they are
not: activations of a document were computed without the other documents.

`config.data.documents_in_prefix` trains models on such documents, with the same
results in one pass (`documents_in_prefix.py`).
"""

from typing import Any

import jax

from jrt_jax.models.language_model import LanguageModel
from jrt_jax.models.language_model import split_blocks

# An entry for each layer; None if it has no prefix.
DocumentSums = tuple[Any, ...]


def read(
    model: LanguageModel, tokens: jax.Array, mask: jax.Array, block: int
) -> DocumentSums:
  """Returns the sums of each row, which is a document.

  Args:
    model: a model whose only mixer that reads a prefix is `pla`.
    tokens: int32 [B, L]; the tokens of each row start at its first position.
    mask: bool [B, L], False at padding.
    block: number of tokens of a row that are computed at once.
  """
  axes = model.sequence_axes(block)
  x = model.embed_blocks(tokens, block)
  masks = split_blocks(mask, block)
  states = model.initial_states(len(tokens), state_capacity=tokens.shape[1])
  sums = []
  for layer, state in zip(model.layers, states, strict=True):
    own = None
    if layer.facts.reads_prefix:
      own = layer.mixer.prefix_sums(layer.mixer_norm(x), masks, axes)
      state = layer.mixer.with_prefix(state, own)
    x, _ = layer.read_blocks(x, masks, state, axes)
    sums.append(own)
  return tuple(sums)


def states(
    model: LanguageModel,
    sums: DocumentSums,
    *,
    state_capacity: int | None = None
) -> tuple[Any, ...]:
  """Returns the states in which texts see the documents with these sums.

  Args:
    model: the model that has read the documents.
    sums: those of B rows, added up over documents.
    state_capacity: see `LanguageModel.prefill`.
  """
  rows = len(jax.tree.leaves(sums)[0])
  empty = model.initial_states(rows, state_capacity=state_capacity)
  return tuple(
      state if own is None else layer.mixer.with_prefix(state, own)
      for layer, state, own in zip(model.layers, empty, sums, strict=True)
  )
