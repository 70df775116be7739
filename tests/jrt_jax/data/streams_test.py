import itertools
import zlib

import numpy as np
import pytest

from jrt_jax.data import streams
from jrt_jax.data import tokenizers

# Of other lengths and types, and one without tokens.
ARRAYS = [
    np.arange(5, dtype=np.uint16),
    np.zeros(0, np.uint16),
    np.arange(5, 12, dtype=np.int32),
    np.arange(12, 13, dtype=np.uint16),
]


def test_every_slice_is_that_of_the_arrays_end_to_end():
  stream = streams.TokenStream(ARRAYS, '')
  assert len(stream) == 13
  for start, stop in itertools.product(range(15), repeat=2):
    assert stream[start:stop].tolist() == list(range(13))[start:stop]
  assert stream[-3:].tolist() == [10, 11, 12]
  assert stream[:].tolist() == list(range(13))


def test_a_slice_of_one_array_is_a_view():
  stream = streams.TokenStream(ARRAYS, '')
  assert np.shares_memory(stream[1:5], ARRAYS[0])
  assert np.shares_memory(stream[5:12], ARRAYS[2])


def test_tokens_apart_are_refused():
  with pytest.raises(ValueError, match='adjacent, got step=2'):
    streams.TokenStream(ARRAYS, '')[::2]


def test_cutting_copies_nothing():
  pieces = streams.cut(ARRAYS, 3, 12)
  assert [piece.tolist() for piece in pieces] == [[3, 4], [*range(5, 12)]]
  assert np.shares_memory(pieces[1], ARRAYS[2])
  assert not streams.cut(ARRAYS, 13, 13)


def test_the_fingerprint_of_tokens_in_memory_depends_on_all_of_them():
  tokens = np.arange(100, dtype=np.uint16)
  crc = zlib.crc32(tokens.tobytes())
  fingerprint = streams.in_memory(tokens).fingerprint
  assert fingerprint == f'100 tokens {crc:08x}'
  tokens[50] += 1
  assert streams.in_memory(tokens).fingerprint != fingerprint


def test_documents_become_tokens_with_an_end_each():
  tokens = streams.tokenize(['ab', '', b'c'], tokenizers.Bytes())
  assert tokens.tolist() == [97, 98, 256, 99, 256]


@pytest.mark.parametrize(
    ('size', 'name'), [(2**16, 'uint16'), (2**16 + 1, 'uint32')]
)
def test_tokens_take_as_few_bytes_as_they_can(size, name):
  assert streams.token_dtype(size).name == name
