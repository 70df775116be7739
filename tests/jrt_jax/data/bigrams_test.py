import collections
import itertools

import numpy as np
import pytest

from jrt_jax.data import bigrams
from jrt_jax.data import recallable_tokens
from jrt_jax.data import streams


@pytest.mark.parametrize('block', [3, 7, 1000])
@pytest.mark.parametrize('dtype', [np.uint16, np.int32])
def test_pairs_are_counted_across_blocks_and_files(monkeypatch, block, dtype):
  monkeypatch.setattr(bigrams, 'BLOCK', block)
  tokens = np.random.default_rng(0).integers(5, size=99).astype(dtype)
  stream = streams.TokenStream([tokens[:40], tokens[40:]], '')
  expected = collections.Counter(itertools.pairwise(tokens.tolist()))
  asked = np.array([[0, 1, 2, 3, 4, 0], [4, 4, 1, 1, 9, 0]])
  found = bigrams.count(stream, recallable_tokens.pairs(asked))
  np.testing.assert_array_equal(
      found, [[expected[pair] for pair in zip(a, a[1:])] for a in asked]
  )
  assert found[1, 3] == 0 and found.max() > 1


def test_a_stream_without_pairs_has_none():
  asked = recallable_tokens.pairs(np.array([[1, 2]]))
  for tokens in ([], [1]):
    stream = streams.in_memory(np.array(tokens, np.uint16))
    assert bigrams.count(stream, asked).tolist() == [[0]]
