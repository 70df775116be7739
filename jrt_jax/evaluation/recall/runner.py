"""Asks a model all questions, and returns rows with its answers.

An answer depends only on its own prompt, so that neither the order of examples
nor the batch size changes a result.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any

from jrt_jax import schema
from jrt_jax.evaluation import language_models
from jrt_jax.evaluation.recall import errors
from jrt_jax.evaluation.recall import questions as questions_lib
from jrt_jax.evaluation.recall import scores
from jrt_jax.reporting.progress import progress_bar

Row = dict[str, Any]  # an answer and its values; record.py has the keys


def run(
    model: language_models.LanguageModel,
    questions: Sequence[questions_lib.Question],
    settings: questions_lib.Settings,
    *,
    finished: Sequence[Row] = (),
    keep: Callable[[Sequence[Row]], None] = lambda rows: None,
) -> list[Row]:
  """Returns a row for each question, in their order.

  Args:
    model: the model that is asked.
    questions: the result of `questions.ask` for this model and `settings`.
    settings: how they are asked.
    finished: rows that are not computed again.
    keep: a function that receives rows as soon as they are finished.

  Raises:
    language_models.NoLogLikelihoods: a task scores choices, but the model
      cannot; raised before anything is asked.
    ValueError: a finished row does not have the metrics of its task.
    ValueError, OSError: the model fails; finished rows have been kept.
  """
  rows = {(r['task'], r['prompt'], r['id']): r for r in finished}
  left = [q for q in questions if q.key not in rows]
  _check_finished(questions, rows)
  _check_scores(model, left)
  total = len(questions)
  with progress_bar(total=total, initial=total - len(left)) as bar:
    for batch in _batches(left, settings.batch_size):
      bar.set_description(f'{batch[0].work.name} {batch[0].kind}', False)
      new = _answer(model, batch, settings)
      keep(new)
      rows |= {q.key: row for q, row in zip(batch, new, strict=True)}
      bar.update(len(batch))
  return [rows[q.key] for q in questions]


def _check_finished(questions, rows):
  for q in questions:
    found = rows.get(q.key, {}).get('values')
    missing = found is not None and {*q.work.task.metrics} - {*found}
    if missing:
      raise ValueError(
          f'answers to {q.work.name}, example {q.example.id}, must have the'
          f' metric {min(missing)}, got {schema.shown([*found])}'
      )


def _check_scores(model, questions):
  """Scores one choice, so that a model without scores fails at once."""
  for q in questions:
    if q.work.task.kind != 'generate':
      model.log_likelihood([(q.prompt, q.example.choices[0])])
      return


def _batches(questions, batch_size):
  """Yields batches of one task and kind of prompt, with similar lengths.

  The longest come first, so that memory runs out early or never.
  """
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
        max_tokens=questions_lib.max_tokens(work, settings),
        stop=work.task.stop,
    )
    return [_generated(q, c) for q, c in zip(batch, completions, strict=True)]
  pairs = [(q.prompt, choice) for q in batch for choice in q.example.choices]
  found = [[] for _ in batch]
  asked = [x for x, q in zip(found, batch) for _ in q.example.choices]
  for own, score in zip(asked, model.log_likelihood(pairs), strict=True):
    own.append(score)
  return [_scored(q, own) for q, own in zip(batch, found)]


def _generated(q, completion):
  text, seconds = completion.text, completion.prefill_seconds
  row = _row(q, text) | {
      'read_tokens': completion.prompt_tokens,  # as the model counts them
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
