import numpy as np
import pytest

from jrt_jax.data import entropy


def test_entropies_of_an_alternating_text():
  unigram, bigram = entropy.ngram_entropies(b'ab' * 50)
  assert unigram == pytest.approx(1)
  assert bigram == pytest.approx(0)


def test_entropies_of_a_text_computed_by_hand():
  # Pairs aa, ab, bb, ba: after each byte, both are equally likely.
  unigram, bigram = entropy.ngram_entropies(b'aabba')
  assert unigram == pytest.approx(-0.6 * np.log2(0.6) - 0.4 * np.log2(0.4))
  assert bigram == pytest.approx(1)


def test_random_bytes_cost_eight_bits():
  text = np.random.default_rng(0).integers(256, size=1_000_000, dtype=np.uint8)
  unigram, bigram = entropy.ngram_entropies(text.tobytes())
  assert unigram == pytest.approx(8, abs=0.01)
  assert bigram == pytest.approx(8, abs=0.1)


def test_a_text_without_pairs_is_refused():
  with pytest.raises(ValueError, match='at least 2 bytes, got 1'):
    entropy.ngram_entropies(b'a')
