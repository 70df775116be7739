"""Checks of users' arguments: texts or token ids, one or several of them."""

from collections.abc import Iterable, Mapping, Sequence
import numbers
import operator
from typing import Any

import numpy as np

from jrt_jax import prompting
from jrt_jax.generation.model import Model

Text = str | np.ndarray | Sequence[int]  # a text, or its token ids [n]

READINGS = ('once', 'twice')


def as_list(name: str, texts: Text | Sequence[Text]) -> tuple[list[Any], bool]:
  """Returns a list of texts and int arrays, and whether a single one was given.

  Raises:
    ValueError: `texts` is neither a text nor token ids nor a list of these.
  """
  if (one := _text(texts)) is not None:
    return [one], True
  wrong = texts
  if _holds_texts(texts):
    texts = [*texts]
    many = [_text(each) for each in texts]
    if all(each is not None for each in many):
      return many, False
    wrong = next(x for x, each in zip(texts, many) if each is None)
  raise ValueError(
      f'{name} must be a text or its token ids, or a list of these, got'
      f' {_shown(wrong)}'
  )


def ids(model: Model, text: str | np.ndarray) -> np.ndarray:
  """Returns the ids of a text, int32 [n], or checks given ids; n may be 0.

  Raises:
    ValueError: the tokenizer does not have an id.
  """
  if isinstance(text, str):
    text = model.tokenizer.encode(text)
  return model.encode(text) if len(text) else np.zeros(0, np.int32)


def token_ids(model: Model, x: Sequence[int]) -> np.ndarray:
  """Returns token ids as int32 [n], or raises ValueError."""
  found = np.asarray(x)
  if found.ndim != 1 or found.size and found.dtype.kind not in 'iu':
    raise ValueError(f'ids must be integers [n], got {_shown(x)}')
  return ids(model, found)


def read(texts: list[Any], reading: str) -> list[Any]:
  """Returns the texts, or with reading='twice' the texts repeated.

  Raises:
    ValueError: `reading` is unknown.
  """
  if reading not in READINGS:
    raise ValueError(f'reading must be once or twice, got {reading!r}')
  if reading == 'once':
    return texts
  return [
      prompting.read_twice(text)
      if isinstance(text, str)
      else np.concatenate([text, text])
      for text in texts
  ]


def whole(name: str, value: Any, least: int) -> int:
  """Returns a whole number of at least `least`, or raises ValueError."""
  try:
    number = operator.index(value)
  except TypeError:
    number = None
  if number is None or isinstance(value, bool) or number < least:
    raise ValueError(
        f'{name} must be a whole number of at least {least}, got {value!r}'
    )
  return number


def number(name: str, value: Any) -> float:
  """Returns a number, or raises ValueError."""
  if not isinstance(value, numbers.Real) or isinstance(value, bool):
    raise ValueError(f'{name} must be a number, got {value!r}')
  return float(value)


def stop_texts(stop: str | Sequence[str]) -> tuple[str, ...]:
  """Returns the stop texts as a tuple, or raises ValueError."""
  stop = (stop,) if isinstance(stop, str) else stop
  if not isinstance(stop, Sequence) or not all(
      isinstance(text, str) for text in stop
  ):
    raise ValueError(f'stop must be a text or a list of texts, got {stop!r}')
  return tuple(stop)


def _holds_texts(x):
  """Whether it may contain texts, as columns of tables and files do."""
  is_number = getattr(x, 'ndim', 1) == 0 or (
      getattr(x, 'ndim', 0) == 1 and getattr(x.dtype, 'kind', 'O') in 'bfc'
  )
  return isinstance(x, Iterable) and not (
      is_number or isinstance(x, (bytes, Mapping))
  )


def _text(x):
  """A text or int [n]; None: it is neither."""
  if isinstance(x, str):
    return x
  if isinstance(x, Sequence) and not isinstance(x, bytes):
    is_ids = len(x) > 0 and all(
        isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in x
    )
    return np.array(x) if is_ids else None
  if getattr(x, 'ndim', None) == 1:  # numpy or jax
    x = np.asarray(x)
    return x if np.issubdtype(x.dtype, np.integer) else None
  return None


def _shown(x):
  if hasattr(x, 'dtype'):
    return f'{x.dtype} {[*x.shape]}'
  return f'{type(x).__name__} {x!r}'[:80]
