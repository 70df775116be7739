"""What a prompt that is shorter than the model's prefix is read as.

Models that have always seen a whole prefix may want it filled. A strategy that
fills it maps `(tokens, *, capacity, pad_id)` to a `Prompt`, all of which is
prefix; where there is None, the prompt is read as it is, and the run's policy
says how much of it is prefix.
  tokens: int32 [n], n < capacity.
  capacity: M, the tokens that the model's prefix has room for.
  pad_id: the id of a space, with which released models were padded.

Source: Arora et al. 2024, section 5.1 and table 4,
https://arxiv.org/abs/2407.05483.
"""

from typing import NamedTuple

import numpy as np


class Prompt(NamedTuple):
  """Tokens that are read as prefix, some of which may be padding."""

  tokens: np.ndarray  # int32 [n]
  padding: int = 0  # how many of the first are padding, which leaves traces


def left_pad_reference(
    tokens: np.ndarray, *, capacity: int, pad_id: int
) -> Prompt:
  """As released checkpoints were evaluated: padding keeps a weight.

  Convolutions and windows see it like other tokens; in `pla` layers its keys
  are zeroed before the feature map, so that each pad weighs 1.
  """
  padding = capacity - len(tokens)
  filled = np.pad(tokens, (padding, 0), constant_values=pad_id)
  return Prompt(filled, padding)


def read_twice(tokens: np.ndarray, *, capacity: int, pad_id: int) -> Prompt:
  """The prompt over and over: the last M tokens of its repetition."""
  del pad_id
  copies = -(-capacity // len(tokens))
  return Prompt(np.tile(tokens, copies)[-capacity:])


SHORT_PROMPTS = {
    'trim': None,
    # Padding that nothing sees changes nothing, so that none is read.
    'left_pad': None,
    'left_pad_reference': left_pad_reference,
    'read_twice': read_twice,
    # Reads the prompt and what was generated anew, after every few tokens.
    'iterate': None,
}
