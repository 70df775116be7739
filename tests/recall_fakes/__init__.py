"""Fixtures: models that are functions of their prompts, and small tasks."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import pytest

from jrt_jax.evaluation.language_models import Completion
from jrt_jax.evaluation.language_models import Score
from jrt_jax.evaluation.recall import questions as questions_lib
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.evaluation.recall.tasks import Task
from jrt_jax.prompting import templates


@dataclasses.dataclass
class Fake:
  """A model of bytes whose answers are a function of the prompt.

  Attributes:
    answer: maps a prompt to what is generated; a choice is the likelier the
      more characters it shares with that, from the first on.
    asked: the prompts of each call.
  """

  answer: Callable[[str], str]
  max_length: int | None = None
  name: str = 'fake'
  unit: str = 'bytes'
  device: str = 'fake'
  seconds: float = float('nan')
  asked: list[Sequence[Any]] = dataclasses.field(default_factory=list)

  def encode(self, text):
    return [*text.encode()]

  def decode(self, ids):
    return bytes(ids).decode(errors='ignore')

  def generate(self, prompts, *, max_tokens, stop):
    assert stop == ('\n',)
    self.asked.append(prompts)
    return [
        Completion(self.answer(x)[:max_tokens], len(x.encode()), self.seconds)
        for x in prompts
    ]

  def log_likelihood(self, pairs):
    self.asked.append(pairs)
    return [self._score(*pair) for pair in pairs]

  def _score(self, context, continuation):
    answer = self.answer(context)
    same = [a == b for a, b in zip(continuation, answer)]
    shared = same.index(False) if False in same else len(same)
    missed = max(len(continuation), len(answer)) - shared
    return Score(-1.0 * missed, missed == 0, len(continuation))


CONTEXTS = {f'Box {i}': f'pearl{i % 3}' for i in range(7)}


def parts(context, question):
  return templates.Parts(
      f'About {question}', context, question, f'{context} {question}'
  )


def _task(kind, *metrics):
  return Task(kind, (), 'tests', metrics, max_tokens=8, stop=('\n',))


@pytest.fixture
def fake():
  return Fake


@pytest.fixture
def oracle():
  """Knows all that the two tasks ask."""
  return Fake(lambda prompt: f' {CONTEXTS[prompt.split(" holds")[-2][-5:]]}')


@pytest.fixture
def recall():
  """A task that generates: what is in the box?"""
  examples = []
  for box, pearl in CONTEXTS.items():
    context = f'{box} holds {pearl}.' + ' Nothing else.' * (len(examples) % 3)
    examples.append(
        Example(
            box,
            parts(context, f'So {box} holds'),
            parts(context, f'So {box} holds'),
            answers=(pearl,),
        )
    )
  return questions_lib.Work(
      'boxes', _task('generate', 'contains', 'exact_match', 'f1'), examples
  )


@pytest.fixture
def choice(recall):
  """The same as a task that scores choices."""
  choices = tuple(f' pearl{k}' for k in range(3))
  examples = [
      Example(e.id, e.once, e.again, (), choices, int(e.answers[0][-1]))
      for e in recall.examples
  ]
  task = _task('choices', 'accuracy', 'accuracy_normalised')
  return questions_lib.Work('choices', task, examples)


@pytest.fixture
def last_word(recall):
  """The same as a task that scores the last word."""
  examples = [
      Example(e.id, e.once, e.again, (), (f' {e.answers[0]}',), 0)
      for e in recall.examples
  ]
  task = _task('last_word', 'accuracy', 'perplexity')
  return questions_lib.Work('last_words', task, examples)
