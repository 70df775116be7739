"""What of a prompt is prefix: what the policy says, or a strategy."""

import dataclasses

import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax.generation import prefill
from jrt_jax.generation import prompt_segments
from jrt_jax.prefix import policies
from jrt_jax.prefix.learned import policy

M = 8  # the longest prefix; training has seen 16 tokens
PLAIN, RICH = np.zeros(20, np.int32), np.arange(20, dtype=np.int32)


def choice():
  """A quarter of what repeats itself, all of what does not."""
  x = np.array([policy.features(tokens[:8]) for tokens in (PLAIN, RICH)])
  middle, scale = x.mean(axis=0), np.full(len(x[0]), 100.0)
  direction = np.append(x[1] - middle, 0)
  return policy.to_json(
      policy.Choice(
          np.array([0.25, 1.0]),
          middle,
          scale,
          np.stack([-direction, direction], axis=1),
      )
  )


FITTED = {
    'entropy': {'thresholds': [0.3, 0.6]},
    'learned': {'mean_fraction': 0.5, **choice()},
}
# The prefix of prompts of 4, 8 and 20 tokens by each policy; capacity: 8.
LENGTHS = {
    'none': [(0, 0, 0)] * 2,
    'full': [(4, 8, 16)] * 2,
    'fixed': [(4, 8, 8)] * 2,
    'uniform': [(4, 8, 8)] * 2,
    'entropy': [(1, 2, 2), (3, 6, 6)],
    'learned': [(1, 2, 5), (4, 8, 8)],
}


@pytest.fixture(scope='module')
def small(make_model):
  return make_model(('pla',))


@pytest.fixture
def of_policy(small):
  """A function that returns a model which a policy has trained."""

  def make(name):
    prefix = base.get_config().prefix.to_dict() | {
        'name': name,
        'signal': 'distinct_ratio',
        'increment': 0.5,
        'fitted': FITTED.get(name),
    }
    config = {**small.config, 'prefix': prefix}
    return dataclasses.replace(small, config=config)

  return make


def spans(row):
  return [(len(segment.tokens), segment.is_prefix) for segment in row]


def prefix_tokens(row):
  return sum(n for n, is_prefix in spans(row) if is_prefix)


def test_every_policy_is_tested():
  assert set(LENGTHS) == set(policies.PREFIX_POLICIES)


@pytest.mark.parametrize('short', ['trim', 'left_pad', 'iterate'])
@pytest.mark.parametrize('name', LENGTHS)
def test_the_prefix_of_a_prompt_is_what_the_policy_says_of_it(
    of_policy, name, short
):
  model = of_policy(name)
  for text, lengths in zip((PLAIN, RICH), LENGTHS[name]):
    for n, expected in zip((4, 8, 20), lengths):
      row = prompt_segments.of_prompt(model, text[:n], short=short)
      rest = n - expected
      wanted = [(expected, True)] * (expected > 0) + [(rest, False)] * (
          rest > 0
      )
      assert spans(row) == wanted
      np.testing.assert_array_equal(
          np.concatenate([segment.tokens for segment in row]), text[:n]
      )


def test_a_prefix_at_the_end_has_the_length_of_the_policy(of_policy):
  row = prompt_segments.of_prompt(of_policy('entropy'), RICH, long='tail')
  assert spans(row) == [(14, False), (6, True)]


def test_where_all_tokens_are_prefix_no_policy_is_asked(of_policy):
  model = of_policy('learned')
  assert spans(prompt_segments.of_prompt(model, PLAIN, long='all')) == [
      (20, True)
  ]
  blocks = prompt_segments.of_prompt(model, PLAIN, long='blocks')
  assert spans(blocks) == [(M, True), (M, True), (4, True)]


@pytest.mark.parametrize('short', ['left_pad_reference', 'read_twice'])
def test_a_prompt_that_fills_the_prefix_asks_no_policy(of_policy, short):
  (segment,) = prompt_segments.of_prompt(
      of_policy('learned'), PLAIN[:5], short=short
  )
  assert len(segment.tokens) == M and segment.is_prefix


def test_what_is_shown_is_what_was_read(of_policy):
  model = of_policy('entropy')
  settings = generation.GenerationSettings(max_tokens=0)
  continuation = generation.Continuation(model, [PLAIN, RICH[:8]], settings)
  np.testing.assert_array_equal(continuation.decode_state.prefix, [2, 6])
  assert continuation.prefix_tokens == 8
  causal = prefill.prefill(model, [[prompt_segments.Segment(RICH[:8], False)]])
  moved = np.abs(continuation.decode_state.logits[1] - causal.logits[0]).max()
  assert moved > 1e-3


@pytest.mark.parametrize('name', ['short', 'long'])
def test_unknown_names_are_refused(small, name):
  with pytest.raises(ValueError, match=f"{name}_prompt .* got 'middle'"):
    prompt_segments.of_prompt(small, RICH, **{name: 'middle'})
