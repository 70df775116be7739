"""The check finds what reads its own answers, and passes what does not."""

import functools

import numpy as np
import pytest

from jrt_jax.evaluation import leak_check
from jrt_jax.evaluation import scoring

CONTEXT, FOLLOWING = np.array([5, 6, 7]), np.array([1, 2, 3])


def check(logits, context, following):
  """Checks logits of one context and of one text that follows it."""
  each = lambda context, texts: np.stack([logits(context, x) for x in texts])
  return leak_check.leak_check(each, context, following, num_ids=257)


def test_scores_do_not_leak(model):
  logits = functools.partial(scoring.logits, model)
  moved = leak_check.leak_check(logits, CONTEXT, FOLLOWING, num_ids=257)
  assert moved <= 1e-5


def test_a_prefix_over_everything_leaks(parallel):
  """As where a harness passes rows without saying where contexts end."""

  def naive(context, following):
    row = np.concatenate([context, following])[None]
    return np.asarray(parallel(row, np.array([row.size])))[0]

  with pytest.raises(ValueError, match='token 2 after the context moves'):
    check(naive, CONTEXT, FOLLOWING)


def test_a_prefix_over_the_context_does_not_leak(parallel):
  def honest(context, following):
    row = np.concatenate([context, following])[None]
    return np.asarray(parallel(row, np.array([len(context)])))[0]

  assert check(honest, CONTEXT, FOLLOWING) <= 1e-5


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
