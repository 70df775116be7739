"""Strategies to read a prompt that is shorter than the model's prefix.

A model whose prefix was always full in training may work better if it is full.
A strategy that fills the prefix is a function `(tokens, *, capacity, pad_id)`
to a `Prompt`, all of which is prefix. None means that the prompt is read
unchanged, and the run's policy decides how much of it is prefix.
  tokens: int32 [n], n < capacity.
  capacity: M, the most tokens of the model's prefix.
  pad_id: the id of a space, with which released models were padded.

Source: Arora et al. 2024, section 5.1 and table 4,
https://arxiv.org/abs/2407.05483.
"""

from typing import NamedTuple

import numpy as np


class Prompt(NamedTuple):
  """Tokens that are read as prefix, some of which may be padding."""

  tokens: np.ndarray  # int32 [n]
  padding: int = 0  # how many of the first are padding, which has an effect


def left_pad_reference(
    tokens: np.ndarray, *, capacity: int, pad_id: int
) -> Prompt:
  """Pads as in the evaluation of released checkpoints: padding keeps a weight.

  Convolutions and windows see padding like other tokens. In `pla` layers its
  keys are zeroed before the feature map, so that each pad has weight 1.
  """
  padding = capacity - len(tokens)
  filled = np.pad(tokens, (padding, 0), constant_values=pad_id)
  return Prompt(filled, padding)


def read_twice(tokens: np.ndarray, *, capacity: int, pad_id: int) -> Prompt:
  """Repeats the prompt, and keeps the last M tokens."""
  del pad_id
  copies = -(-capacity // len(tokens))
  return Prompt(np.tile(tokens, copies)[-capacity:])


SHORT_PROMPTS = {
    'trim': None,
    # Masked padding has no effect, so that none is read.
    'left_pad': None,
    'left_pad_reference': left_pad_reference,
    'read_twice': read_twice,
    # Generation reads prompt and text again after every few tokens.
    'iterate': None,
}
