import jax
import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax import models
from jrt_jax.data import streams
from jrt_jax.data import tokenizers
from jrt_jax.evaluation import prefix_trials
from jrt_jax.prefix.learned import trials

END = 256


def cut(tokens, **settings):
  defaults = {'length': 12, 'answer_tokens': 4, 'count': 99, 'eos_id': END}
  stream = streams.in_memory(np.array(tokens))
  return prefix_trials.cut(stream, **defaults | settings)


@pytest.fixture(scope='module')
def model(tiny_config):
  config = tiny_config(mixers=('pla',), vocab_size=257)
  params = models.split(models.build(config))[1]
  run = {
      'model': config,
      'prefix': {'name': 'uniform', 'capacity': 1.0},
      'sequence_length': 12,
  }
  return generation.Model(run, params, tokenizers.Bytes())


@pytest.fixture(scope='module')
def logits(model):
  """A function from tokens [1, 16] and prefix_len [1] to logits."""
  return jax.jit(
      lambda tokens, M: model.merge(model.params)(tokens, prefix_len=M)
  )


@pytest.fixture(scope='module')
def prompts():
  """Three of 12 tokens, and one that is cut off by the end of its document."""
  tokens = np.random.default_rng(0).integers(256, size=64)
  tokens[32 + 11] = END
  prompts = cut(tokens, answers='all')
  assert [len(p.tokens) for p in prompts] == [12, 12, 8, 12]
  return prompts


def test_prompts_and_answers_are_pieces_of_one_document():
  tokens = np.arange(100)
  tokens[[20, 21, 58, 99]] = END
  prompts = cut(tokens, answers='all')
  for prompt in prompts:
    first, n = prompt.tokens[0], len(prompt.tokens)
    piece = np.concatenate([prompt.tokens, prompt.answer])
    np.testing.assert_array_equal(piece, tokens[first : first + n + 4])
    assert END not in piece[:-1] and 4 <= n <= 12
  # Windows begin at 0, 16, …; the one at 16 has 5 tokens, too few.
  assert [p.tokens[0] for p in prompts] == [0, 32, 48, 64, 80]


def test_what_can_be_recalled_counts():
  text = np.array([1, 2, 7, 7, 7, 3, 4, 8, 8, 8, 8, 8, 1, 2, 3, 9])
  tokens = np.concatenate([text, np.arange(100, 148), text + 20])
  prompts = cut(tokens)
  assert [p.answer.tolist() for p in prompts] == [
      [1, 2, 3, 9],
      [21, 22, 23, 29],
  ]
  for prompt in prompts:
    assert prompt.counts.tolist() == [False, True, False, False]
  assert len(cut(tokens, answers='all')) == 5


@pytest.mark.parametrize(
    ('tokens', 'message'),
    [
        (np.arange(15), 'two prompts of 12 tokens with answers of 4, got 15'),
        (np.arange(64), r'scored tokens \(recall\), got 0 of 4 prompts'),
        ([1, 2, 3, END] * 16, 'documents of at least 8 tokens'),
    ],
)
def test_text_without_prompts_is_refused(tokens, message):
  with pytest.raises(ValueError, match=message):
    cut(tokens)


@pytest.mark.parametrize('lengths', [[12, 5, 8, 10], [6, 0, 1, 9]])
def test_scores_are_those_of_each_row_alone(model, logits, prompts, lengths):
  score = prefix_trials.scorer(model, prompts, batch_size=4)
  actual = score(np.arange(4), np.array(lengths, np.int32))
  for prompt, length, found in zip(prompts, lengths, actual, strict=True):
    n = len(prompt.tokens)
    tokens = np.zeros((1, 16), np.int32)  # what follows changes nothing
    tokens[0, : n + 4] = [*prompt.tokens, *prompt.answer]
    rows = logits(tokens, np.array([length]))[0, n - 1 : n + 3]
    log_probs = jax.nn.log_softmax(rows)[np.arange(4), prompt.answer]
    assert found == pytest.approx(float(log_probs.mean()), abs=1e-5)


def test_an_answer_does_not_see_itself_and_only_what_counts_does(
    model, prompts
):
  def scores(change):
    changed = [
        prompt._replace(
            answer=(prompt.answer + change * np.array([0, 0, 1, 1])) % END,
            counts=np.array([True, True, False, False]),
        )
        for prompt in prompts
    ]
    score = prefix_trials.scorer(model, changed, batch_size=4)
    return score(np.arange(4), np.array([12, 12, 8, 12], np.int32))

  np.testing.assert_allclose(scores(0), scores(1), atol=1e-6)


def test_a_last_batch_may_be_smaller(model, prompts):
  score = prefix_trials.scorer(model, prompts, batch_size=4)
  full = score(np.arange(4), np.array([12, 12, 8, 12], np.int32))
  part = score(np.array([3]), np.array([12], np.int32))
  np.testing.assert_allclose(part, full[3:], atol=1e-6)


def test_trials_try_every_fraction(model, prompts):
  score = prefix_trials.scorer(model, prompts, batch_size=4)
  table = trials.collect(
      [prompt.tokens for prompt in prompts], (0.9, 1.0), score, batch_size=4
  )
  expected = score(np.arange(4), np.array([11, 11, 7, 11], np.int32))
  np.testing.assert_allclose(table.scores[:, 0], expected, atol=1e-6)
  assert (table.scores[:, 1] != table.scores[:, 0]).all()


@pytest.mark.parametrize('longest', [1, 2, 12, 4096])
def test_a_model_is_compiled_for_few_prefixes_which_reach_the_longest(longest):
  capacities = sorted(prefix_trials._capacities(longest))
  assert 2 <= len(capacities) <= 8
  assert capacities[0] == 0 and capacities[-1] == longest
