"""What each saliency prefers."""

import math

import pytest

from jrt_jax.prompting import saliency

TEXTS = [
    'The Rhine is long.',
    'The sky is blue on most days.',
    'The Rhine, the Rhine!',
]


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
