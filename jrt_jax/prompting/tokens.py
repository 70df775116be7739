"""Helpers for tokenizers, of this package or of other libraries."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

Count = Callable[[str], int]


def load(tokenizer: Any) -> Any:
  """Returns the given tokenizer, or the one of a name as in `config.data`."""
  if not isinstance(tokenizer, str):
    return tokenizer
  from jrt_jax.data import tokenizers  # needs numpy, so only if used

  return tokenizers.load(tokenizer)


def encode(tokenizer: Any, text: str) -> Sequence[int]:
  """Returns the ids of a text, special tokens included."""
  encoding = tokenizer.encode(text)
  return getattr(encoding, 'ids', encoding)  # for the library `tokenizers`


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
  """Returns the text of ids; special tokens such as <s> have no text."""
  special = {*getattr(tokenizer, 'all_special_ids', ())}  # for transformers
  return tokenizer.decode([int(i) for i in ids if i not in special])


def counter(tokenizer: Any) -> Count:
  """Returns a function that counts the tokens of a text and caches results.

  Args:
    tokenizer: has `encode(text)`, or is a name or path as in `config.data`, or
      is itself a function that counts tokens.
  """
  tokenizer = load(tokenizer)
  if not hasattr(tokenizer, 'encode'):
    return tokenizer
  return functools.cache(lambda text: len(encode(tokenizer, text)))
