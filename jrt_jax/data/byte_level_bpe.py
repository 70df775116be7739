"""Byte-level byte-pair encoding, learned from text.

Source: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, on bytes, with
the pre-tokenization of GPT-2, by the `tokenizers` library.
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
  """Raises ValueError unless all bytes and the end of text have ids."""
  if not 257 <= vocab_size <= _MOST:
    raise ValueError(
        f'{argument} must be from 257 (the bytes and the end of text) to'
        f' {_MOST:,}, got {vocab_size}'
    )


def train(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
  """Returns a tokenizer whose merges are learned from texts.

  Args:
    texts: documents, read once. Counts of distinct words are kept in memory.
    vocab_size: number of ids; id 0 is the end of text, the next 256 are bytes.

  Raises:
    ValueError: the size is impossible, or too large for these texts.
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
        f'the text must have enough words for {vocab_size=:,}, got words for'
        f' {size:,} ids: use more text, or a smaller size'
    )
  return tokenizer
