"""Ranks the segments of a document by their relevance to a question.

A saliency is a function from `(texts, question)` to a number for each text. The
text with the largest number is repeated first.
"""

from collections.abc import Callable, Sequence
import math
import random as random_lib
import re

Saliency = Callable[[Sequence[str], str], Sequence[float]]

_K1, _B = 1.2, 0.75


def bm25(texts: Sequence[str], question: str) -> list[float]:
  """Returns the BM25 score of the question for each text.

  Source: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework:
  BM25 and Beyond, with k1 = 1.2 and b = 0.75. The inverse document frequency of
  a word is computed over these texts.
  """
  words = [re.findall(r'\w+', text.lower()) for text in texts]
  mean = sum(map(len, words)) / max(len(words), 1) or 1.0
  scores = [0.0] * len(texts)
  for term in sorted(set(re.findall(r'\w+', question.lower()))):
    counts = [segment.count(term) for segment in words]
    found = sum(map(bool, counts))
    idf = math.log1p((len(texts) - found + 0.5) / (found + 0.5))
    for i, n in enumerate(counts):
      length = 1 - _B + _B * len(words[i]) / mean
      scores[i] += idf * n * (_K1 + 1) / (n + _K1 * length)
  return scores


def lead(texts: Sequence[str], question: str) -> list[float]:
  """A control: ranks earlier texts higher."""
  del question
  return [float(-i) for i in range(len(texts))]


def random(seed: int) -> Saliency:
  """A control: random numbers, which do not depend on the texts."""

  def saliency(texts, question):
    del question
    draws = random_lib.Random(seed)
    return [draws.random() for _ in texts]

  return saliency
