"""What prompts ask of a tokenizer, of this package or of another."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

Count = Callable[[str], int]


def load(tokenizer: Any) -> Any:
  """Returns the tokenizer that is given, or named as in `config.data`."""
  if not isinstance(tokenizer, str):
    return tokenizer
  from jrt_jax.data import tokenizers  # needs numpy; tokenizers of others do not

  return tokenizers.load(tokenizer)


def encode(tokenizer: Any, text: str) -> Sequence[int]:
  """Returns the ids of a text, with those that the tokenizer puts around it."""
  encoding = tokenizer.encode(text)
  return getattr(encoding, 'ids', encoding)  # of the library `tokenizers`


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
  """Returns the text of ids; special ones such as <s> have none."""
  special = {*getattr(tokenizer, 'all_special_ids', ())}  # of transformers
  return tokenizer.decode([int(i) for i in ids if i not in special])


def counter(tokenizer: Any) -> Count:
  """Returns how to count the tokens of a text; it remembers what it counted.

  Args:
    tokenizer: has `encode(text)`, or is a name or path as in `config.data`, or
      counts the tokens of a text itself.
  """
  tokenizer = load(tokenizer)
  if not hasattr(tokenizer, 'encode'):
    return tokenizer
  return functools.cache(lambda text: len(encode(tokenizer, text)))
