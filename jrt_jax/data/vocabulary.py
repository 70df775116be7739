"""The tokenizer of a config, and room for its ids in the model."""

from collections.abc import Mapping
from typing import Any

from jrt_jax.data import objectives
from jrt_jax.data import tokenizers
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.data.synthetic import tasks

Tokenizer = tokenizers.Bytes | tokenizers.TokenizerJson | split_lib.Ids


def load_tokenizer(data: Mapping) -> Tokenizer:
  """Returns the tokenizer of `config.data`; for synthetic tasks, `Ids`.

  Raises:
    FileNotFoundError, ValueError: see `tokenizers.load`.
  """
  if data['source'] in tasks.TASKS:
    return split_lib.Ids(
        data['synthetic']['num_ids'] or tasks.TASKS[data['source']].num_ids
    )
  return tokenizers.load(data['tokenizer'])


def with_vocabulary(
    model: Mapping, tokenizer: Tokenizer, objective: Mapping
) -> dict[str, Any]:
  """Returns `config.model` with an id for every token and for [MASK].

  If the vocabulary is too small, it becomes that of the tokenizer followed by
  [MASK]; otherwise it is unchanged.

  Raises:
    ValueError: the vocabulary is large enough, but mask_id is the id of a token
      or not in the vocabulary.
  """
  size, has_masks = tokenizer.size, objectives.has_masks(objective)
  vocab_size, mask_id = model['vocab_size'], model['mask_id']
  if size + has_masks > vocab_size:
    return {**model, 'vocab_size': size + 1, 'mask_id': size}
  if has_masks and not size <= mask_id < vocab_size:
    raise ValueError(
        f"config.model.mask_id must lie beyond the tokenizer's {size} ids and"
        f' below {vocab_size=}, got {mask_id}'
    )
  return dict(model)
