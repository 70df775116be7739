"""What is asked, what is answered, and that batches change nothing."""

import math
import zlib

import pytest

from jrt_jax.evaluation.recall import questions as questions_lib
from jrt_jax.evaluation.recall import runner
from recall_fakes import choice as choice
from recall_fakes import fake as fake
from recall_fakes import last_word as last_word
from recall_fakes import oracle as oracle
from recall_fakes import recall as recall

EVERY = questions_lib.Settings(
    prompts=('default', 'twice', 'hierarchical'), batch_size=3
)


def run(model, works, settings=EVERY, **options):
  questions = questions_lib.ask(model, works, settings)
  return runner.run(model, questions, settings, **options)


def test_an_oracle_is_always_right_and_an_empty_model_never(
    oracle, fake, recall, choice, last_word
):
  works = [recall, choice, last_word]
  for row in run(oracle, works):
    expected = [1] * 3 if row['task'] == 'boxes' else [1, 1]
    if row['task'] == 'last_words':
      expected = [1, 0]  # a log-likelihood
    assert [*row['values'].values()] == expected
    assert row['error'] is None
  for row in run(fake(lambda prompt: ''), works):
    if row['task'] == 'boxes':
      assert not any(row['values'].values())
      assert row['error'] == 'no_answer'
    if row['task'] == 'last_words':
      assert row['values']['accuracy'] == 0


def test_batches_and_order_change_nothing(fake, recall, choice):
  def guess(prompt):
    return f' pearl{zlib.crc32(prompt.encode()) % 3}'

  expected = run(fake(guess), [recall, choice])
  assert len({row['values']['contains'] for row in expected[:7]}) == 2
  for batch_size in (1, 2, 100):
    settings = questions_lib.Settings(EVERY.prompts, batch_size=batch_size)
    assert run(fake(guess), [recall, choice], settings) == expected
  backwards = [w._replace(examples=w.examples[::-1]) for w in (choice, recall)]
  by_key = lambda row: (row['task'], row['prompt'], row['id'])
  found = run(fake(guess), backwards)
  assert sorted(found, key=by_key) == sorted(expected, key=by_key)


def test_batches_have_one_kind_of_prompt_and_similar_lengths(oracle, recall):
  run(oracle, [recall])
  assert [*map(len, oracle.asked)] == [3, 3, 1] * 3
  for batches in (oracle.asked[:3], oracle.asked[3:6], oracle.asked[6:]):
    lengths = [len(prompt) for batch in batches for prompt in batch]
    assert lengths == sorted(lengths, reverse=True)
  assert all(prompt.startswith('Box') for prompt in oracle.asked[0])
  assert all(prompt.startswith('About') for prompt in oracle.asked[3])


def test_rows_say_what_was_read(fake, recall):
  model = fake(lambda prompt: ' pearl2', seconds=0.25)
  rows = run(model, [recall])
  assert [row['id'] for row in rows[:7]] == [e.id for e in recall.examples]
  assert rows[0]['tokens'] == len('Box 0 holds pearl0. So Box 0 holds')
  assert rows[0]['prefill_ms'] == 250
  assert rows[0]['output'] == ' pearl2'
  assert rows[0]['error'] == 'irrelevant' and rows[2]['error'] is None
  assert run(fake(lambda prompt: ''), [recall])[0]['prefill_ms'] is None


def test_lengths_are_counted_alike_in_all_rows(fake, recall, choice):
  class Words(fake):
    """Counts words, but is told how many bytes were read."""

    def encode(self, text):
      return text.split()

  rows = run(Words(lambda prompt: ' pearl2'), [recall, choice])
  tokens = {(r['task'], r['prompt'], r['id']): r['tokens'] for r in rows}
  for task, kind, name in tokens:
    assert tokens[task, kind, name] == tokens['choices', kind, name]
  assert rows[0]['tokens'] == len('Box 0 holds pearl0. So Box 0 holds'.split())
  assert rows[0]['read_tokens'] == len('Box 0 holds pearl0. So Box 0 holds')


def test_an_answer_that_repeats_the_question_is_a_repetition(fake, recall):
  rows = run(fake(lambda prompt: ' so box'), [recall])
  assert {row['error'] for row in rows} == {'repetition'}


def test_what_is_finished_is_not_asked_again(oracle, recall, choice):
  kept = []
  expected = run(oracle, [recall, choice], keep=kept.extend)
  assert sorted(map(repr, kept)) == sorted(map(repr, expected))
  oracle.asked.clear()
  found = run(oracle, [recall, choice], finished=kept[:20])
  assert found == expected
  scored = sum(len(x) for x in oracle.asked if isinstance(x[0], tuple))
  generated = sum(len(x) for x in oracle.asked if isinstance(x[0], str))
  assert generated == 1  # of 21
  assert scored == 21 * 3 + 1  # each choice; and one to see whether it can
  oracle.asked.clear()
  assert run(oracle, [recall, choice], finished=kept) == expected
  assert not oracle.asked


def test_answers_without_a_metric_of_the_task_are_refused(oracle, recall):
  first, *others = run(oracle, [recall])
  del first['values']['f1']
  message = "boxes, example Box 0, must have the metric f1, got .'contains'"
  with pytest.raises(ValueError, match=message):
    run(oracle, [recall], finished=[first, *others])


def test_what_was_finished_before_a_failure_is_kept(oracle, recall):
  kept, answer = [], oracle.answer

  def fail_later(prompt):
    if len(kept) == 6:
      raise ConnectionError('the server does not answer')
    return answer(prompt)

  oracle.answer = fail_later
  with pytest.raises(ConnectionError):
    run(oracle, [recall], keep=kept.extend)
  assert len(kept) == 6


def test_prompts_are_cut_from_the_left_where_that_is_allowed(fake, recall):
  model = fake(lambda prompt: prompt, max_length=60)
  settings = questions_lib.Settings(['default', 'twice'], allow_truncation=True)
  rows = run(model, [recall], settings)
  whole = {
      q.key: q.prompt for q in questions_lib.ask(fake(str), [recall], settings)
  }
  cut = 0
  prompts = sum(model.asked, [])
  for row in rows:
    prompt = whole[row['task'], row['prompt'], row['id']]
    assert row['cut'] == (len(prompt) > 60 - 9)
    assert row['tokens'] == min(len(prompt), 60 - 9)
    assert prompt[-(60 - 9) :] in prompts
    cut += row['cut']
  assert 0 < cut < len(rows)


def test_a_model_that_cannot_score_says_so_before_all_else(
    oracle, recall, choice
):
  def refuse(pairs):
    raise ValueError('fake has no log-likelihoods')

  oracle.log_likelihood = refuse
  with pytest.raises(ValueError, match='no log-likelihoods'):
    run(oracle, [recall, choice])
  assert not oracle.asked
  run(oracle, [recall])


def test_a_log_likelihood_must_be_a_number(oracle, choice):
  score = oracle.log_likelihood
  oracle.log_likelihood = lambda pairs: [
      x._replace(log_likelihood=-math.inf) for x in score(pairs)
  ]
  with pytest.raises(ValueError, match='finite, got -inf for the example Box'):
    run(oracle, [choice])
