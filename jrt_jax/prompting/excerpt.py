"""The most salient passages of a document, as many as fit into a budget.

A document is divided into blocks of about ten words. A block is as salient as
the best window of blocks around it, because an answer is near the words of its
question, not among them.
"""

import bisect
from collections.abc import Callable
import itertools
from typing import NamedTuple

from jrt_jax.prompting import saliency as saliency_lib
from jrt_jax.prompting import segment

_BLOCK = 10  # words; one more or less if a sentence ends there
_WINDOW = 3  # blocks


class Excerpt(NamedTuple):
  """The passages of a document that are read."""

  text: str  # passages in the order of the document, a blank line between them
  cut: list[str]  # the texts before, between and after them


def excerpt(
    document: str,
    question: str,
    saliency: saliency_lib.Saliency,
    tokens: Callable[[str], int],
    budget: int,
) -> Excerpt:
  """Returns the most of a document that fits, its most salient blocks first.

  Args:
    document: not empty.
    question: the question for which blocks are salient.
    saliency: see `jrt_jax.prompting.saliency`.
    tokens: a function from a text to the number of tokens of its prompt.
    budget: the most tokens of the prompt.

  Raises:
    ValueError: not even the most salient block fits.
  """
  blocks = segment.windows(document, width=_BLOCK, overlap=0)
  ranks = _ranks([block.text for block in blocks], question, saliency)

  def best(n):
    return _join(blocks, {*ranks[:n]})

  sizes = range(1, len(blocks) + 1)
  n = bisect.bisect_right(sizes, budget, key=lambda n: tokens(best(n).text))
  if not n:
    raise ValueError(
        f'budget must be at least {tokens(best(1).text)} tokens, for the'
        f' question and some words of the context, got {budget}'
    )
  return best(n)


def _ranks(texts, question, saliency):
  """The indices of blocks, the most salient first."""
  last = max(0, len(texts) - _WINDOW)
  windows = [''.join(texts[i : i + _WINDOW]) for i in range(last + 1)]
  scores = saliency(windows, question)
  best = [
      max(scores[max(0, i - _WINDOW + 1) : i + 1]) for i in range(len(texts))
  ]
  return sorted(range(len(texts)), key=lambda i: -best[i])


def _join(blocks, kept):
  """Joins the blocks of some indices, and cuts the others."""
  runs = itertools.groupby(range(len(blocks)), key=kept.__contains__)
  read, cut = [], []
  for is_read, run in runs:
    text = ''.join(blocks[i].text for i in run)
    (read if is_read else cut).append(text)
  return Excerpt('\n\n'.join(text.strip() for text in read), cut)
