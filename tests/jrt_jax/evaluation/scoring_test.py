"""What follows a context is scored as the parallel form would."""

import jax
import numpy as np
import pytest

from jrt_jax.evaluation import scoring
from jrt_jax.generation import prefill
from jrt_jax.generation import prompt_segments
from jrt_jax.generation.prompt_segments import Segment

M = 8  # the prefix of the model
TOKENS = np.random.default_rng(0).integers(257, size=60).astype(np.int32)
CONTEXTS = [TOKENS[:n] for n in (3, M, 13)]  # shorter, as long and longer


@pytest.fixture(scope='module')
def pairs(parallel):
  """Several for each context: nothing follows, or the likeliest, or others."""
  rows = np.stack([np.resize(context, 20) for context in CONTEXTS])
  count = np.array([len(context) for context in CONTEXTS])
  logits = parallel(rows, np.minimum(count, M))
  likeliest = np.asarray(logits)[np.arange(3), count - 1].argmax(axis=-1)
  following = [TOKENS[30:37], TOKENS[40:42], TOKENS[:0]]
  return [
      (context, after)
      for context, token in zip(CONTEXTS, likeliest)
      for after in [*following, np.array([token])]
  ]


def test_only_the_context_is_prefix(model, parallel, pairs):
  rows = np.stack([np.resize(np.concatenate(pair), 20) for pair in pairs])
  count = np.array([len(context) for context, _ in pairs])
  logits = parallel(rows, np.minimum(count, M))
  log_probs = np.asarray(jax.nn.log_softmax(logits))
  scores = scoring.score(model, pairs, scoring.ScoringSettings(batch_size=2))
  for b, (context, after) in enumerate(pairs):
    at = len(context) - 1 + np.arange(len(after))
    expected = log_probs[b, at, after].sum()
    np.testing.assert_allclose(
        scores[b].log_likelihood, expected, rtol=1e-5, atol=1e-5
    )
    greedy = log_probs[b, at].argmax(axis=-1) == after
    assert scores[b].is_greedy == greedy.all()
  assert scores[3].is_greedy and not scores[0].is_greedy


def test_what_follows_is_read_as_decoding_reads_it(model, monkeypatch):
  monkeypatch.setattr(scoring, '_BLOCK', 16)
  context, after = TOKENS[:13], TOKENS[20:41]  # in two blocks

  @jax.jit
  def decode(params, tokens, states):
    def step(states, token):
      return model.merge(params).decode_step(token, states)[::-1]

    return jax.lax.scan(step, states, tokens[:, None])[1]

  read = prefill.prefill(
      model, [prompt_segments.of_prompt(model, context)], room=len(after)
  )
  later = decode(model.params, after, read.states)[:, 0]
  expected = np.concatenate([read.logits, later])
  (actual,) = scoring.logits(model, context, after[None])
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_a_long_context_is_read_as_a_prompt(model):
  context, after = TOKENS[:29], TOKENS[30:33]  # 29: more than in training
  (found,) = scoring.logits(
      model, context, after[None], scoring.ScoringSettings(long_prompt='blocks')
  )
  row = prompt_segments.of_prompt(model, context, long='blocks')
  expected = prefill.prefill(model, [[*row, Segment(after, False)]])
  assert len(found) == len(after) + 1
  np.testing.assert_allclose(
      found[-1], expected.logits[0], rtol=1e-5, atol=1e-5
  )


def test_pairs_of_other_lengths_compile_nothing(model, compilations):
  rng = np.random.default_rng(1)

  def score(contexts, longest):
    pairs = [
        (rng.integers(256, size=n), rng.integers(256, size=longest))
        for n in contexts
    ]
    scoring.score(model, pairs, scoring.ScoringSettings(batch_size=2))

  for contexts in ([20], [20, 3]):  # alone and together
    score(contexts, 5)
  before = compilations()
  for _ in range(10):
    count, longest = rng.integers(1, 6), rng.integers(1, 16)
    score(rng.integers(1, 60, size=count), longest)
  assert compilations() == before


def test_no_pairs_have_no_scores(model):
  assert not scoring.score(model, [])


@pytest.mark.parametrize('length', [0, 1, 7, 8, 9, 12, 13, 40])
@pytest.mark.parametrize('size', [7, 8])
def test_windows_score_each_token_once(length, size):
  windows = scoring.windows(length, size)
  scored = [i for _, first, end in windows for i in range(first, end)]
  assert scored == list(range(length))
  for start, first, end in windows[1:]:
    assert first - start == size // 2
    assert end - start <= size


@pytest.mark.parametrize(
    ('context', 'after', 'message'),
    [
        ([], [1], 'must hold at least one token'),
        ([257], [1], r'must lie in \[0, 257\), got 257'),
        ([1], [-1], r'must lie in \[0, 257\), got -1'),
    ],
)
def test_impossible_pairs_are_refused(model, context, after, message):
  with pytest.raises(ValueError, match=message):
    scoring.score(model, [(np.array(context), np.array(after))])


def test_a_batch_must_hold_a_context():
  with pytest.raises(ValueError, match='batch_size must be positive, got 0'):
    scoring.ScoringSettings(batch_size=0)
