import numpy as np
import pytest

from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.training import held_out_answers

L, MASK = 16, 100


def step(params, batch):
  """Stands in for `Steps.evaluate`: answers of short prompts are right."""
  params.append(batch)
  easy = batch['prefix_len'][:, None] < 10
  sums = {}
  for name, kind in (
      ('next_token', NEXT_TOKEN),
      ('masked_token', MASKED_TOKEN),
  ):
    chosen = batch['supervision'] == kind
    sums |= {
        f'{name}_nll': 2.0 * chosen.sum(),
        f'{name}_correct': (chosen & easy).sum(),
        f'{name}_count': chosen.sum(),
    }
  return sums


@pytest.fixture
def make(run_config):
  def make(sizes, rows=4, **changes):
    config = run_config(
        data__source='needle',
        data__synthetic__sizes=sizes,
        prefix__name='full',
        model__mask_id=MASK,
        **changes,
    )
    held_out = split_lib.splits('needle', config['data']['synthetic'])
    split = held_out['validation']
    tokenizer = split_lib.Ids(split.num_ids)
    return held_out_answers.HeldOutAnswers(
        config, tokenizer, split, rows=rows, put=lambda batch: batch
    )

  return make


def test_accuracy_is_told_for_each_size(make):
  held_out = make((2, 4), objective__name='prefix_lm')
  metrics = held_out.run(step, [])
  assert metrics == {
      'answer_loss': 2.0,
      'answer_accuracy': 0.5,
      'answer_accuracy_2': 1.0,
      'answer_accuracy_4': 0.0,
      'unnamed_accuracy': 0.0,
  }
  assert held_out.headline(metrics) == '50.0% of answers right'
  lines = held_out.lines(metrics)
  assert lines['  size 2'] == '100.0% (guessing 50.0%)'
  assert lines['  size 4'] == '0.0% (guessing 25.0%)'


def test_one_size_needs_no_table(make):
  held_out = make((4,), objective__name='prefix_lm')
  metrics = held_out.run(step, [])
  assert metrics.pop('unnamed_accuracy') == 0.0
  assert metrics == {'answer_loss': 2.0, 'answer_accuracy': 0.0}
  assert held_out.lines(metrics)['answer accuracy'] == '0.0% (guessing 25.0%)'


def test_masked_tokens_are_scored_apart(make):
  batches = []
  metrics = make((2, 4)).run(step, batches)
  assert metrics['answer_accuracy'] == 0.5
  assert metrics['masked_token_loss'] == 2.0
  for batch in batches:
    masks = (batch['tokens'] == MASK).any()
    assert masks == (batch['supervision'] == MASKED_TOKEN).any()
  assert {(b['tokens'] == MASK).any() for b in batches} == {True, False}


def test_samples_do_not_depend_on_the_seed_nor_on_how_many_are_taken_at_once(
    make,
):
  def samples(**changes):
    batches = []
    held_out = make((2, 4), objective__name='prefix_lm', **changes)
    held_out.run(step, batches)
    return np.concatenate([batch['tokens'] for batch in batches])

  expected = samples(eval_batches=3)
  # (Sizes, and what was not named) x batches x batch_size.
  assert expected.shape == ((2 + 1) * 2 * 8, L)
  np.testing.assert_array_equal(samples(eval_batches=3, seed=4), expected)
  np.testing.assert_array_equal(samples(eval_batches=3, rows=8), expected)


def test_what_the_question_did_not_name_is_scored_apart(make):
  batches = []
  held_out = make((2, 8), objective__name='prefix_lm', sequence_length=24)
  metrics = held_out.run(step, batches)
  line = held_out.lines(metrics)['of what the question did not name']
  assert line == f'{metrics["unnamed_accuracy"]:.1%}'
  named = [(b['tokens'][:, 17], b['tokens'][:, 20]) for b in batches]
  is_asked = [(name == key).all() for name, key in named]
  assert not is_asked[-1] and any(is_asked)


def test_a_task_whose_question_names_nothing_has_no_such_score(run_config):
  config = run_config(data__source='mqar', prefix__name='full')
  split = split_lib.splits('mqar', config['data']['synthetic'])
  assert split['validation'].unnamed() is None
