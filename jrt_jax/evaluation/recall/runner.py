"""Asks a model every example of some tasks, by every kind of prompt.

An answer depends on its own prompt only, so neither the order of examples nor
how many are asked at once changes a result.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import hashlib
import json
import math
from typing import Any, NamedTuple

import tqdm

from jrt_jax.evaluation.recall import errors
from jrt_jax.evaluation.recall import scores
from jrt_jax.prompting import prompts as prompts_lib

DEFAULT = 'default'  # the kind of prompt that the others are compared with
_BEFORE = 1  # many models put a token before a text, which `encode` has not
Row = dict[str, Any]  # an answer and its values; record.py says with what keys


class Work(NamedTuple):
  """A task whose examples are there.

  Attributes:
    name: of the task, or the file of its examples.
    task: see `recall.tasks`.
    examples: of which no two have the same id.
  """

  name: str
  task: Any
  examples: Sequence[Any]


@dataclasses.dataclass(frozen=True)
class Settings:
  """How models are asked.

  Attributes:
    prompts: keys of `prompts.PROMPTS`.
    max_tokens: of an answer; None: as the task says.
    batch_size: how many examples are asked at once.
    allow_truncation: whether prompts that are longer than the model takes are
      cut from the left; else they are an error.
  """

  prompts: Sequence[str] = (DEFAULT, 'twice')
  max_tokens: int | None = None
  batch_size: int = 8
  allow_truncation: bool = False


class Question(NamedTuple):
  """An example, asked by a kind of prompt."""

  work: Work
  kind: str
  example: Any
  prompt: str
  tokens: int  # of the prompt
  cut: bool = False  # whether the prompt has lost its start

  @property
  def key(self) -> tuple[str, str, str]:
    """What a row of it is found by."""
    return self.work.name, self.kind, self.example.id


def ask(
    model: Any, works: Sequence[Work], settings: Settings
) -> list[Question]:
  """Returns what a model is to be asked, task by task and kind by kind.

  Args:
    model: a `language_models.LanguageModel`.
    works, settings: what is asked, and how.

  Raises:
    ValueError: two examples share an id, a prompt cannot be made, or prompts
      are longer than the model takes.
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


def digest(questions: Sequence[Question]) -> str:
  """Returns a digest of all that is asked, and of how it is scored."""
  sha = hashlib.sha256()
  for work, kind, example, prompt, _, cut in questions:
    asked = work.name, work.task.metrics, kind, prompt, cut, example
    sha.update(json.dumps(asked).encode())
  return sha.hexdigest()


def run(
    model: Any,
    questions: Sequence[Question],
    settings: Settings,
    *,
    finished: Sequence[Row] = (),
    keep: Callable[[Sequence[Row]], None] = lambda rows: None,
) -> list[Row]:
  """Returns a row for each question, in their order.

  Args:
    model: a `language_models.LanguageModel`.
    questions, settings: what `ask` returned, and was given.
    finished: rows that are not computed again.
    keep: gets rows as soon as they are there.

  Raises:
    language_models.NoLogLikelihoods: a task scores choices, and the model
      cannot; before anything is asked.
    ValueError, OSError: the model fails; what was finished has been kept.
  """
  rows = {(r['task'], r['prompt'], r['id']): r for r in finished}
  left = [q for q in questions if q.key not in rows]
  _check_scores(model, left)
  total = len(questions)
  with tqdm.tqdm(
      total=total, initial=total - len(left), delay=1, disable=None
  ) as bar:
    for batch in _batches(left, settings.batch_size):
      bar.set_description(f'{batch[0].work.name} {batch[0].kind}', False)
      new = _answer(model, batch, settings)
      keep(new)
      rows |= {q.key: row for q, row in zip(batch, new)}
      bar.update(len(batch))
  return [rows[q.key] for q in questions]


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
  """Returns the questions of a kind, cut to what the model takes if allowed."""
  questions = []
  for example in work.examples:
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
  """How many tokens of a prompt the model takes, beside what follows it."""
  if model.max_length is None:
    return math.inf
  following = max_tokens(work, settings)
  if work.task.kind != 'generate':
    following = max(len(model.encode(choice)) for choice in example.choices)
  return model.max_length - following - _BEFORE


def max_tokens(work: Work, settings: Settings) -> int:
  """Returns how many tokens an answer of a task may have."""
  return settings.max_tokens or work.task.max_tokens


def _end(model, text, room):
  """Returns the last tokens of a text, and their text."""
  if room < 1:
    raise ValueError(
        f'{model.name} takes {model.max_length} tokens, which answers alone'
        f' need: there is no room for a prompt'
    )
  for size in range(room, -1, -1):  # an end can have more tokens alone
    ids = model.encode(text)
    if len(ids) <= room:
      break
    text = model.decode(ids[len(ids) - size :])
  return text, model.encode(text)


def _check_lengths(model, questions):
  """Raises ValueError if any would be cut, with how many of which kind."""
  counts = {}
  for q in questions:
    counts.setdefault(f'{q.work.name} {q.kind}', []).append(q.cut)
  long = [
      f'{sum(x)} of {len(x)} {name}' for name, x in counts.items() if any(x)
  ]
  if long:
    raise ValueError(
        f'prompts must leave room for their answers in the {model.max_length}'
        f' tokens of {model.name}, but {", ".join(long)} do not: lower'
        ' --context_tokens, or give --allow_truncation to cut them from the left'
    )


def _check_scores(model, questions):
  """Scores one choice, so that a model that cannot says so at once."""
  for q in questions:
    if q.work.task.kind != 'generate':
      model.log_likelihood([(q.prompt, q.example.choices[0])])
      return


def _batches(questions, batch_size):
  """Yields questions of one task and kind; the longest first, so that memory
  fails early, and similar lengths together."""
  groups = {}
  for q in questions:
    groups.setdefault((q.work.name, q.kind), []).append(q)
  for group in groups.values():
    group.sort(key=lambda q: -q.tokens)
    for start in range(0, len(group), batch_size):
      yield group[start : start + batch_size]


def _answer(model, batch, settings):
  work = batch[0].work
  if work.task.kind == 'generate':
    completions = model.generate(
        [q.prompt for q in batch],
        max_tokens=max_tokens(work, settings),
        stop=work.task.stop,
    )
    return [_generated(q, c) for q, c in zip(batch, completions, strict=True)]
  pairs = [(q.prompt, choice) for q in batch for choice in q.example.choices]
  found = iter(model.log_likelihood(pairs))
  return [_scored(q, [next(found) for _ in q.example.choices]) for q in batch]


def _generated(q, completion):
  text, seconds = completion.text, completion.prefill_seconds
  row = _row(q, text) | {
      'tokens': completion.prompt_tokens,
      'prefill_ms': None if math.isnan(seconds) else 1e3 * seconds,
      'output': text,
      'answers': list(q.example.answers),
  }
  if not next(iter(row['values'].values())):  # the first metric decides
    questions = q.example.again.intro, q.example.again.question
    row['error'] = errors.classify(text, q.prompt, questions)
  return row


def _scored(q, found):
  return _row(q, found) | {
      'log_likelihoods': [score.log_likelihood for score in found],
      'label': q.example.label,
  }


def _row(q, answer) -> Mapping[str, Any]:
  return {
      'task': q.work.name,
      'prompt': q.kind,
      'id': q.example.id,
      'tokens': q.tokens,
      'cut': q.cut,
      'prefill_ms': None,
      'values': scores.values(q.work.task.metrics, q.example, answer),
      'error': None,
  }
