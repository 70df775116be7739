"""Which segments of a document are worth reading again.

A saliency maps `(texts, question)` to a number for each of the texts, the
largest of which is read again first. Those that need a model take
`score(tokens)`, the log-probability of each of n tokens after those before it:
float [n].
"""

from collections.abc import Callable, Sequence
import math
import random as random_lib
import re
from typing import Any

import numpy as np

from jrt_jax.prompting import tokens

Saliency = Callable[[Sequence[str], str], Sequence[float]]
Score = Callable[[np.ndarray], np.ndarray]

_K1, _B = 1.2, 0.75


def bm25(texts: Sequence[str], question: str) -> list[float]:
  """How much the words of the question say about each text.

  Source: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework:
  BM25 and Beyond, with k1 = 1.2 and b = 0.75. A word's inverse frequency counts
  the segments of this document.
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
  """A control: what comes first."""
  del question
  return [float(-i) for i in range(len(texts))]


def random(seed: int) -> Saliency:
  """A control: draws of a seed, whatever the texts are."""

  def saliency(texts, question):
    del question
    draws = random_lib.Random(seed)
    return [draws.random() for _ in texts]

  return saliency


def nll(score: Score, tokenizer: Any) -> Saliency:
  """What a model did not expect: the mean loss of a text's tokens, in nats."""
  encode = _encoder(tokenizer)

  def saliency(texts, question):
    del question
    losses = [-score(encode(text)) for text in texts]
    return [float(loss.mean()) if loss.size else 0.0 for loss in losses]

  return saliency


def query_gain(score: Score, tokenizer: Any) -> Saliency:
  """How much likelier a text makes the question: log p(Q | text) - log p(Q)."""
  encode = _encoder(tokenizer)

  def saliency(texts, question):
    asked = encode(question)
    alone = score(asked).sum()
    gains = []
    for text in texts:
      both = np.concatenate([encode(text), asked])
      gains.append(float(score(both)[-len(asked) :].sum() - alone))
    return gains

  return saliency


def _encoder(tokenizer):
  tokenizer = tokens.load(tokenizer)
  return lambda text: np.asarray(tokens.encode(tokenizer, text), np.int32)
