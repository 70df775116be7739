import types

import numpy as np

from jrt_jax.data import tokenizers
from jrt_jax.generation import continued_text

BYTES = tokenizers.Bytes()


def ids_that_may_end(tokenizer, *stop):
  ids_of = continued_text.characters(tokenizer)
  found = continued_text.may_end(tokenizer, stop, ids_of)
  return set(np.flatnonzero(found).tolist())


def test_a_text_may_end_with_the_end_of_text_and_what_completes_a_stop():
  assert ids_that_may_end(BYTES) == {256}
  parts_of_characters = {*range(128, 256)}
  assert ids_that_may_end(BYTES, '\nQ:', '.') == parts_of_characters | {
      256,
      *b':.',
  }


def test_a_stop_may_end_within_a_token_and_at_a_space_that_is_hidden():
  words = ['stop', 'sto', 'p it', ' and', 'or']
  tokenizer = types.SimpleNamespace(
      size=len(words),
      eos_id=-1,
      decode=lambda ids: ''.join(words[i] for i in ids).removeprefix(' '),
  )
  assert ids_that_may_end(tokenizer, 'a stop') == {0, 2}
  assert ids_that_may_end(tokenizer, 'so ') == {2, 3}
