"""Tokenizers of this package, of others, and functions that count."""

import pytest
import tokenizers as hf

from jrt_jax.prompting import tokens


def test_tokens_are_counted_by_any_tokenizer():
  library = hf.Tokenizer(hf.models.WordLevel({'a': 0}, unk_token='a'))
  library.pre_tokenizer = hf.pre_tokenizers.Whitespace()
  for tokenizer, expected in (
      ('bytes', 6),
      (library, 3),
      (lambda text: len(text.split()), 3),
  ):
    assert tokens.counter(tokenizer)('a b é') == expected


def test_a_name_that_is_no_tokenizer_is_refused():
  with pytest.raises(
      FileNotFoundError, match="the tokenizer must be .* 'gpt2'"
  ):
    tokens.counter('gpt2')
