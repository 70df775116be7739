"""The needle: who knows the question selects with one slot of state."""

import jax
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.evaluation.synthetic import needle
from jrt_jax.evaluation.synthetic import needle_model

PAIRS = 6
PROMPTS = 32


@pytest.fixture(scope='module')
def prompts():
  return needle.draw(np.random.default_rng(0), PROMPTS, PAIRS)


def read(prompts, order, prefix):
  length = np.full(PROMPTS, needle.length(prefix, PAIRS), np.int32)
  return needle.reader(PAIRS)(prompts.tokens(order), length)


def test_a_prompt_is_pairs_question_and_the_key_again(prompts):
  tokens = prompts.tokens('DQ')
  assert tokens.shape == (PROMPTS, needle.length('DQ', PAIRS) + 2)
  for row, pairs, key, value in zip(tokens, *prompts):
    values = dict(zip(pairs[::2].tolist(), pairs[1::2].tolist()))
    assert len(values) == PAIRS and values[key] == value
    assert row.tolist() == [*pairs, 1, key, 2, 3, key]


@pytest.mark.parametrize(
    'order, prefix', [('DQ', 'DQ'), ('QD', ''), ('DQDQ', '')]
)
def test_who_knows_the_question_finds_every_value(prompts, order, prefix):
  assert needle.accuracy(prompts, order, prefix) == 1


@pytest.mark.parametrize('prefix', ['', 'D'])
def test_who_does_not_know_it_keeps_nothing(prompts, prefix):
  logits, (_, _, (kept, _)) = read(prompts, 'DQ', prefix)
  assert not np.any(kept)
  values = np.asarray(logits)[:, needle_model.FIRST_KEY + PAIRS :]
  assert (values == values[:, :1]).all()
  assert needle.accuracy(prompts, 'DQ', prefix) < 0.25


def test_one_value_is_kept_in_a_state_of_one_feature(prompts):
  _, (_, *states) = read(prompts, 'DQ', 'DQ')
  width = needle_model.columns(PAIRS).values.stop
  for kept, _ in states:
    assert kept.shape == (PROMPTS, 1, 1, width)
    assert (np.count_nonzero(kept, axis=-1) == 1).all()


def test_the_parallel_form_agrees(prompts):
  tokens = prompts.tokens('DQ')
  length = np.full(PROMPTS, needle.length('DQ', PAIRS), np.int32)
  merge, _ = models.abstract(needle_model.config(PAIRS))
  logits, _ = read(prompts, 'DQ', 'DQ')
  read_at_once = jax.jit(
      lambda params: merge(params)(tokens, prefix_len=length)
  )
  parallel = read_at_once(needle_model.weights(PAIRS))[:, -1]
  np.testing.assert_allclose(parallel, logits, rtol=1e-4, atol=1e-3)
