"""The check finds what reads its own answers, and passes what does not."""

import functools

import numpy as np
import pytest

from jrt_jax.evaluation import leak_check
from jrt_jax.evaluation import scoring

CONTEXT, FOLLOWING = np.array([5, 6, 7]), np.array([1, 2, 3])
TEXT = np.arange(24)
# What log-likelihood tasks score: (context, what follows it).
SHAPES = {
    'a choice of one token': (CONTEXT, FOLLOWING[:1]),
    'a choice of several tokens': (CONTEXT, TEXT[:9]),
    'a context beyond the prefix': (TEXT[:12], TEXT[:9]),
    'no context': (np.array([256]), TEXT[:9]),
    'the first window of a text': (np.array([256]), TEXT[:15]),
    'a later window': (TEXT[8:16], TEXT[16:]),
}


def check(logits, context, following):
  """Checks logits of one context and of one text that follows it."""
  each = lambda context, texts: np.stack([logits(context, x) for x in texts])
  return leak_check.leak_check(each, context, following, num_ids=257)


@pytest.fixture
def parallel_with(parallel):
  """A function of a prefix's length that returns how rows are scored with it."""

  def parallel_with(prefix_len):
    def logits(context, following):
      row = np.concatenate([context, following])
      padded = np.pad(row, (0, 32 - len(row)))[None]  # one shape compiles
      return np.asarray(parallel(padded, np.array([prefix_len])))[0, : len(row)]

    return logits

  return parallel_with


@pytest.mark.parametrize('shape', SHAPES)
def test_scores_do_not_leak(model, shape):
  logits = functools.partial(scoring.logits, model)
  moved = leak_check.leak_check(logits, *SHAPES[shape], num_ids=257)
  assert moved <= 1e-5


@pytest.mark.parametrize('shape', SHAPES)
def test_a_prefix_over_everything_leaks(parallel_with, shape):
  """As where a harness passes rows without saying where contexts end."""
  context, following = SHAPES[shape]
  last = len(following) - 1
  with pytest.raises(ValueError, match=f'token {last} after the context moves'):
    check(parallel_with(len(context) + len(following)), context, following)


def test_a_prefix_over_the_context_does_not_leak(parallel_with):
  assert check(parallel_with(len(CONTEXT)), CONTEXT, FOLLOWING) <= 1e-5


@pytest.mark.parametrize('j', range(3))
def test_it_says_which_token_leaks(j):
  def logits(context, following):
    tokens = np.concatenate([context, following]).astype(np.float32)
    tokens[:3] += tokens[3 + j]
    return tokens[:, None]

  with pytest.raises(ValueError, match=f'token {j} after'):
    check(logits, CONTEXT, FOLLOWING)


def test_what_cannot_be_compared_does_not_pass():
  def logits(context, following):
    return np.full((len(context) + len(following), 1), np.nan)

  with pytest.raises(ValueError, match='by nan'):
    check(logits, CONTEXT, FOLLOWING)
