"""Tables and JSON of rows whose figures are known."""

import json
import math

import pytest

from jrt_jax.evaluation.recall import questions as questions_lib
from jrt_jax.evaluation.recall import report
from jrt_jax.evaluation.recall import runner
from recall_fakes import choice as choice
from recall_fakes import fake as fake
from recall_fakes import last_word as last_word
from recall_fakes import oracle as oracle
from recall_fakes import recall as recall


@pytest.fixture
def twice_helps(fake, recall):
  """A model that must read twice to know; rows of 28 examples."""
  examples = [
      e._replace(id=f'{e.id} {k}') for k in range(4) for e in recall.examples
  ]
  work = recall._replace(examples=examples)

  def answer(prompt):
    if prompt.startswith('About'):
      return f' {prompt.split(" holds ")[-2][:6]}'
    return ' so box' if 'Nothing' in prompt else ''

  model = fake(answer, seconds=0.002)
  settings = questions_lib.Settings(['default', 'twice'])
  questions = questions_lib.ask(model, [work], settings)
  return [work], runner.run(model, questions, settings)


def test_figures_of_each_kind(twice_helps):
  found = report.results(*twice_helps)
  json.dumps(found, allow_nan=False)
  (task,) = found.values()
  default, twice = task['prompts'].values()
  assert task['examples'] == 28 and task['warnings'] == []
  assert default['metrics']['contains']['estimate'] == 0
  assert twice['metrics']['contains']['estimate'] == 1
  assert 0.8 < twice['metrics']['contains']['low'] < 1
  assert default['errors'] == pytest.approx(
      {'no_answer': 12 / 28, 'repetition': 16 / 28, 'irrelevant': 0}
  )
  assert twice['prefill_ms'] == pytest.approx(2)
  assert 1.5 < twice['tokens'] / default['tokens'] < 3
  assert 'against_default' not in default
  against = twice['against_default']['contains']
  assert against['estimate'] == 1 and against['p_value'] == 2**-27
  assert against['n'] == 28
  assert twice['against_default']['f1']['p_value'] is None


def test_the_tables_say_the_same(twice_helps):
  table = report.tables(report.results(*twice_helps))
  title, header, default, twice, *rest = table.splitlines()
  assert title == 'boxes: 28 examples'
  assert header.split()[:2] == ['prompt', 'tokens']
  assert default.split()[0] == 'default' and ' 0.0 (' in default
  assert twice.split()[0] == 'twice' and ' 100.0 (' in twice
  assert ' 57.1 ' in table  # repetition
  (difference,) = (x for x in rest if x.startswith('twice') and 'contains' in x)
  assert '+100.0 (' in difference and difference.endswith('<0.001')
  assert max(map(len, table.splitlines())) <= 80


def test_examples_that_share_a_context_are_no_independent_ones(twice_helps):
  (work,), rows = twice_helps
  examples = [e._replace(group=e.id.split()[1]) for e in work.examples]
  found = report.results([work._replace(examples=examples)], rows)
  (alone,), (task,) = report.results([work], rows).values(), found.values()
  assert (task['examples'], task['groups'], alone['groups']) == (28, 7, 28)
  twice, independent = (x['prompts']['twice'] for x in (task, alone))
  against = twice['against_default']['contains']
  assert (against['estimate'], against['n'], against['p_value']) == (
      1,
      28,
      None,
  )
  low, narrow = (x['metrics']['contains']['low'] for x in (twice, independent))
  assert low < narrow - 0.1
  assert report.tables(found).startswith('boxes: 28 examples about 7 contexts')


def test_a_single_example_is_counted_in_the_singular(oracle, recall):
  work = recall._replace(examples=recall.examples[:1])
  settings = questions_lib.Settings(['default'])
  questions = questions_lib.ask(oracle, [work], settings)
  found = report.results([work], runner.run(oracle, questions, settings))
  assert report.tables(found).startswith('boxes: 1 example\n')


def test_no_gain_is_told(oracle, recall):
  settings = questions_lib.Settings(['default', 'twice'])
  questions = questions_lib.ask(oracle, [recall], settings)
  rows = runner.run(oracle, questions, settings)
  found = report.results([recall], rows)
  assert found['boxes']['warnings'] == [
      'twice recalls no more than default (+0.0 points)'
  ]
  assert '! twice recalls no more' in report.tables(found)


def test_what_was_cut_is_not_compared(fake, recall):
  model = fake(lambda prompt: '', max_length=60)
  settings = questions_lib.Settings(['default', 'twice'], allow_truncation=True)
  questions = questions_lib.ask(model, [recall], settings)
  found = report.results([recall], runner.run(model, questions, settings))
  twice = found['boxes']['prompts']['twice']
  assert 'against_default' not in twice and twice['cut'] > 0
  (warning,) = found['boxes']['warnings']
  assert warning.startswith('twice is not compared with default: ')
  assert 'less default' not in report.tables(found)


def test_perplexities_are_no_percentages(fake, last_word):
  model = fake(lambda prompt: ' pearl0')
  settings = questions_lib.Settings(['default', 'twice'])
  questions = questions_lib.ask(model, [last_word], settings)
  found = report.results([last_word], runner.run(model, questions, settings))
  default, twice = found['last_words']['prompts'].values()
  assert default['metrics']['perplexity']['estimate'] == pytest.approx(
      math.exp(4 / 7)  # 4 of 7 miss a character
  )
  assert twice['against_default']['perplexity']['estimate'] == 1
  assert 'errors' not in default
  table = report.tables(found)
  assert ' 1.771 (' in table and '+1.000' not in table


def test_f1_of_choices_stands_beside_accuracy(fake, choice):
  task = choice.task._replace(metrics=('accuracy', 'macro_f1'))
  work = choice._replace(task=task)
  settings = questions_lib.Settings(['default', 'twice'])
  model = fake(lambda prompt: ' pearl0')  # right of 3 of 7, and of 2 + 2 not
  questions = questions_lib.ask(model, [work], settings)
  found = report.results([work], runner.run(model, questions, settings))
  json.dumps(found, allow_nan=False)
  default, twice = found['choices']['prompts'].values()
  assert default['metrics']['macro_f1']['estimate'] == pytest.approx(0.2)
  assert default['values'] == [1, 0, 0, 1, 0, 0, 1]
  assert twice['against_default']['macro_f1']['estimate'] == 0
  assert ' 20.0 (' in report.tables(found)


def test_without_a_default_nothing_is_compared(oracle, recall):
  settings = questions_lib.Settings(['twice', 'context_twice'])
  questions = questions_lib.ask(oracle, [recall], settings)
  found = report.results([recall], runner.run(oracle, questions, settings))
  assert [*found['boxes']['prompts']] == ['twice', 'context_twice']
  assert 'against_default' not in found['boxes']['prompts']['context_twice']
  assert 'less default' not in report.tables(found)
