"""Byte-level byte-pair encoding, learned from text.

Source: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, on bytes and with
the words of GPT-2, as the `tokenizers` library has them.
"""

from collections.abc import Iterable
import sys

import tokenizers
from tokenizers import decoders
from tokenizers import models
from tokenizers import pre_tokenizers
from tokenizers import trainers

END_OF_TEXT = '<|endoftext|>'
_MOST = 2**20


def check_size(argument: str, vocab_size: int) -> None:
  """Raises ValueError unless there is an id for every byte and one more."""
  if not 257 <= vocab_size <= _MOST:
    raise ValueError(
        f'{argument} must be from 257 (all bytes and the end of text) to'
        f' {_MOST:,}, got {vocab_size}'
    )


def train(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
  """Returns a tokenizer that has learned its merges from texts.

  Args:
    texts: read once. The counts of their different words are held in memory.
    vocab_size: how many ids it has; id 0 is the end of text, the next 256 are
      bytes.

  Raises:
    ValueError: the size is impossible, or the texts have too few words for it.
  """
  check_size('vocab_size', vocab_size)
  tokenizer = tokenizers.Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
      vocab_size=vocab_size,
      special_tokens=[END_OF_TEXT],
      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
      show_progress=sys.stderr.isatty(),
  )
  tokenizer.train_from_iterator(texts, trainer)
  if (size := tokenizer.get_vocab_size()) < vocab_size:
    raise ValueError(
        f'the text must have words for {vocab_size=:,}, but there is nothing'
        f' left to merge after {size:,}: give more text, or a smaller size'
    )
  return tokenizer
