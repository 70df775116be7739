"""What each saliency prefers."""

import math

import numpy as np
import pytest

from jrt_jax.data import tokenizers
from jrt_jax.prompting import saliency

BYTES = tokenizers.Bytes()
TEXTS = [
    'The Rhine is long.',
    'The sky is blue on most days.',
    'The Rhine, the Rhine!',
]


def recall(tokens):
  """Log-probabilities of a model that expects what it has read before."""
  seen = [t in tokens[:i] for i, t in enumerate(tokens)]
  return np.log(np.where(seen, 0.5, 0.01))


def test_bm25_follows_its_formula():
  # 'rhine' is in 2 of 3 texts, both of 4 words where the mean is 5.
  idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
  first, second, third = saliency.bm25(TEXTS, 'Rhine?')
  assert first == pytest.approx(idf * 2.2 / (1 + 1.2 * 0.85))
  assert second == 0
  assert third == pytest.approx(idf * 2 * 2.2 / (2 + 1.2 * 0.85))


def test_bm25_prefers_rare_words_of_the_question():
  first, second, third = saliency.bm25(TEXTS, 'the the the the the blue')
  assert second > max(first, third)


@pytest.mark.parametrize('texts', [[], [''], ['', '...']])
def test_texts_without_words_are_not_salient(texts):
  assert saliency.bm25(texts, 'Rhine') == [0] * len(texts)


def test_lead_prefers_what_comes_first():
  assert saliency.lead(TEXTS, 'Rhine') == sorted(
      saliency.lead(TEXTS, 'Rhine'), reverse=True
  )


def test_random_depends_on_the_seed_only():
  draws = saliency.random(0)(TEXTS, 'Rhine')
  assert draws == saliency.random(0)(TEXTS[::-1], 'sky')
  assert draws != saliency.random(1)(TEXTS, 'Rhine')
  assert len({*draws}) == len(TEXTS)


def test_nll_prefers_what_a_model_does_not_expect():
  dull, vivid = saliency.nll(recall, BYTES)(['aaaaaaaa', 'abcdefgh'], 'q')
  assert vivid == pytest.approx(-math.log(0.01))
  assert dull == pytest.approx(-(math.log(0.01) + 7 * math.log(0.5)) / 8)


def test_query_gain_prefers_what_makes_the_question_likelier():
  gain = saliency.query_gain(recall, BYTES)
  both, one, none = gain(['yx', 'ay', 'ab'], 'xy')
  assert none == pytest.approx(0)
  assert one == pytest.approx(math.log(50))
  assert both == pytest.approx(2 * math.log(50))
