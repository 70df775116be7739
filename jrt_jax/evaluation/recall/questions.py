"""The questions of an evaluation: all examples, with all kinds of prompts."""

from collections.abc import Iterator, Sequence
import dataclasses
import hashlib
import json
import math
from typing import NamedTuple

from jrt_jax.evaluation import language_models
from jrt_jax.evaluation.recall import tasks
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import prompts as prompts_lib
from jrt_jax.reporting.progress import progress_bar

DEFAULT = 'default'  # the kind of prompt that the others are compared with
_BEFORE = 1  # many models add a token before a text that `encode` does not


class Work(NamedTuple):
  """A task with its examples.

  Attributes:
    name: the name of the task, or the file of its examples.
    task: how the examples are asked and scored.
    examples: the examples; their ids are unique.
  """

  name: str
  task: tasks.Task
  examples: Sequence[Example]


@dataclasses.dataclass(frozen=True)
class Settings:
  """How models are asked.

  Attributes:
    prompts: keys of `prompts.PROMPTS`.
    max_tokens: the most tokens of an answer; None: the default of the task.
    batch_size: how many examples are asked at once.
    allow_truncation: whether the start of prompts that are too long for the
      model is cut off; otherwise they are an error.
  """

  prompts: Sequence[str] = (DEFAULT, 'twice')
  max_tokens: int | None = None
  batch_size: int = 8
  allow_truncation: bool = False


class Question(NamedTuple):
  """An example with a kind of prompt."""

  work: Work
  kind: str
  example: Example
  prompt: str
  tokens: int  # tokens of the prompt
  cut: bool = False  # whether the start of the prompt was cut off

  @property
  def key(self) -> tuple[str, str, str]:
    """The key that identifies its row in the results."""
    return self.work.name, self.kind, self.example.id


def ask(
    model: language_models.LanguageModel,
    works: Sequence[Work],
    settings: Settings,
) -> list[Question]:
  """Returns all questions for a model, by task and by kind of prompt.

  Args:
    model: the model that will be asked.
    works: the tasks and their examples.
    settings: how they are asked.

  Raises:
    ValueError: two examples share an id, a prompt cannot be made, or a prompt
      is too long for the model.
  """
  questions = []
  for work in works:
    if not work.examples:
      raise ValueError(f'the task {work.name} must have examples, got none')
    _check_ids(work)
    for kind in dict.fromkeys(settings.prompts):
      questions += _fitted(model, work, kind, settings)
  if not settings.allow_truncation:
    _check_lengths(model, questions)
  return questions


def listed() -> Iterator[str]:
  """Yields a line for each task and each kind of prompt."""
  width = max(map(len, [*tasks.TASKS, *prompts_lib.PROMPTS]))
  yield 'tasks: their metrics; where their rows are'
  for name, task in tasks.TASKS.items():
    yield f'  {name:{width}}  {", ".join(task.metrics)}; {task.source}'
  yield 'prompts: the order of what they show'
  for name, kind in prompts_lib.PROMPTS.items():
    yield f'  {name:{width}}  {kind.about}'


def digest(questions: Sequence[Question]) -> str:
  """Returns a digest of all questions and of how they are scored."""
  sha = hashlib.sha256()
  for work, kind, example, prompt, _, cut in questions:
    asked = work.name, work.task.metrics, kind, prompt, cut, example
    sha.update(json.dumps(asked).encode())
  return sha.hexdigest()


def max_tokens(work: Work, settings: Settings) -> int:
  """Returns the most tokens of an answer of a task."""
  return settings.max_tokens or work.task.max_tokens


def _check_ids(work):
  seen = set()
  for example in work.examples:
    if example.id in seen:
      raise ValueError(
          f'examples of the task {work.name} must have different ids, got'
          f' {example.id!r} twice'
      )
    seen.add(example.id)


def _fitted(model, work, kind, settings):
  """Returns the questions of a kind; cuts long prompts if that is allowed."""
  questions = []
  name = f'{work.name} {kind}: prompts'
  for example in progress_bar(work.examples, name):
    try:
      text = prompts_lib.prompt(kind, example.once, example.again)
    except ValueError as error:
      raise ValueError(f'{work.name}, example {example.id}: {error}') from error
    ids = model.encode(text)
    room = _room(model, work, example, settings)
    cut = model.max_length is not None and len(ids) > room
    if cut and settings.allow_truncation:
      text, ids = _end(model, text, room)
    questions.append(Question(work, kind, example, text, len(ids), cut))
  return questions


def _room(model, work, example, settings):
  """The most tokens of a prompt, so that the answer fits as well."""
  if model.max_length is None:
    return math.inf
  following = max_tokens(work, settings)
  if work.task.kind != 'generate':
    following = max(len(model.encode(choice)) for choice in example.choices)
  return model.max_length - following - _BEFORE


def _end(model, text, room):
  """Returns the number of last tokens that fit, and their text."""
  if room < 1:
    raise ValueError(
        f'{model.name} takes {model.max_length} {model.unit}, and the answers'
        ' need all of them: there is no room for a prompt'
    )
  for size in range(room, -1, -1):  # alone, an end can have more tokens
    ids = model.encode(text)
    if len(ids) <= room:
      break
    text = model.decode(ids[len(ids) - size :])
  return text, model.encode(text)


def _check_lengths(model, questions):
  """Raises ValueError if prompts are too long; it counts them by kind."""
  counts = {}
  for q in questions:
    counts.setdefault(f'{q.work.name} {q.kind}', []).append(q.cut)
  long = [
      f'{sum(x)} of {len(x)} {name}' for name, x in counts.items() if any(x)
  ]
  if long:
    raise ValueError(
        f'prompts must leave room for their answers in the {model.max_length}'
        f' {model.unit} of {model.name}, but {", ".join(long)} do not: give'
        ' a lower --context_tokens, or --allow_truncation to cut them from the left'
    )
