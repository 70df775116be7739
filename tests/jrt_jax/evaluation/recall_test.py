"""Tasks, prompts and models together: who knows all, who knows nothing, ours."""

import collections
import pathlib

import pytest

from jrt_jax.evaluation import language_models
from jrt_jax.evaluation.language_models import jrt
from jrt_jax.evaluation.recall import questions as questions_lib
from jrt_jax.evaluation.recall import report
from jrt_jax.evaluation.recall import runner
from jrt_jax.evaluation.recall import tasks
from jrt_jax.prompting import prompts

DATA = pathlib.Path(__file__).parents[4] / 'shared' / 'data' / 'eval'
THERE = [*(name for name in tasks.TASKS if any(DATA.glob(f'{name}*')))]


class Knowing:
  """A model of bytes that knows what is right, or just what is not.

  Args:
    questions: that it will be asked.
    right: whether it answers well; else with nothing, and a wrong choice.
  """

  name, max_length, unit = 'knowing', None, 'bytes'

  def __init__(self, questions, *, right):
    self._examples = {q.prompt: q.example for q in questions}
    self._choices = {
        (q.prompt, choice): (q.example, i)
        for q in questions
        for i, choice in enumerate(q.example.choices)
    }
    self._right = right

  def encode(self, text):
    return [*text.encode()]

  def decode(self, ids):
    return bytes(ids).decode(errors='ignore')

  def generate(self, prompts, *, max_tokens, stop):
    del max_tokens, stop
    return [self._complete(prompt) for prompt in prompts]

  def log_likelihood(self, pairs):
    return [self._score(*pair) for pair in pairs]

  def _complete(self, prompt):
    text = f' {self._examples[prompt].answers[0]}\n' if self._right else ''
    return language_models.Completion(text, len(prompt), float('nan'))

  def _score(self, prompt, choice):
    example, label = self._choices[prompt, choice]
    right = label == example.label
    if example.names:
      right = example.names[label] in example.answers
    likely = right == self._right
    log_likelihood = -1e-9 if likely else -1e3
    return language_models.Score(log_likelihood, likely, len(choice))


@pytest.mark.skipif(not THERE, reason='the rows are not there')
@pytest.mark.parametrize('name', THERE)
def test_who_knows_all_scores_1_and_who_knows_nothing_0(name):
  reader = Knowing([], right=True)
  examples = tasks.examples(
      name, [str(DATA)], tokenizer=reader, context_tokens=950, limit=20
  )
  work = questions_lib.Work(name, tasks.find_task(name), [*examples])
  settings = questions_lib.Settings([*prompts.PROMPTS])
  questions = questions_lib.ask(reader, [work], settings)
  for right in (True, False):
    model = Knowing(questions, right=right)
    rows = runner.run(model, questions, settings)
    found = report.results([work], rows)[name]['prompts']
    assert [*found] == settings.prompts
    for kind in found.values():
      means = {k: x['estimate'] for k, x in kind['metrics'].items()}
      perplexity = means.pop('perplexity', None)
      assert {*means.values()} == {float(right)}
      if perplexity is not None:
        assert perplexity == pytest.approx(1) if right else perplexity > 1e300
      if 'errors' in kind:
        assert kind['errors']['no_answer'] == (not right)


def small_works():
  """Questions of different lengths, to be answered and to be scored."""
  parts = prompts.templates.Parts
  works = collections.defaultdict(list)
  for i in range(5):
    each = parts(f'Ask {i}.', 'ab ' * (3 * i + 1), f'q{i}:', 'abc ' * i + 'q:')
    example = tasks.Example(str(i), each, each, ('a',), (' x', ' yz'), i % 2)
    works['generate'].append(example)
    works['choices'].append(example)
  generate = tasks.TASKS['fda']._replace(max_tokens=3)
  return [
      questions_lib.Work('texts', generate, works['generate']),
      questions_lib.Work(
          'choices', tasks.TASKS['superglue_copa'], works['choices']
      ),
  ]


@pytest.mark.slow
def test_answers_of_our_models_do_not_depend_on_batches_or_order(model):
  works = small_works()
  found = []
  for batch_size, order in ((1, 1), (3, -1)):
    model_of_batch = jrt.Jrt(model, name='tiny', batch_size=batch_size)
    settings = questions_lib.Settings(batch_size=batch_size)
    asked = [w._replace(examples=w.examples[::order]) for w in works]
    questions = questions_lib.ask(model_of_batch, asked, settings)
    rows = runner.run(model_of_batch, questions, settings)
    key = lambda row: (row['task'], row['prompt'], row['id'])
    found.append(sorted(rows, key=key))
  assert len({row['output'] for row in found[0] if 'output' in row}) > 1
  for alone, together in zip(*found, strict=True):
    assert alone.pop('log_likelihoods', 0) == pytest.approx(
        together.pop('log_likelihoods', 0), abs=1e-4
    )
    for row in (alone, together):
      assert row.pop('prefill_ms') is None or 'output' in row
    assert alone == together
