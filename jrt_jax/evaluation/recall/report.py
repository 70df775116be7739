"""Summarises answers, as JSON and as tables."""

from collections.abc import Mapping, Sequence
import hashlib
import json
from typing import Any

import numpy as np

from jrt_jax.evaluation.recall import errors
from jrt_jax.evaluation.recall import means
from jrt_jax.evaluation.recall import questions
from jrt_jax.evaluation.recall import runner
from jrt_jax.evaluation.recall import scores
from jrt_jax.reporting import provenance
from jrt_jax.reporting import tables as tables_lib

_NOTE = (
    'Scores are in %, with 95 % intervals over contexts. Examples are compared'
    ' in pairs: differences are in points, those of perplexities are ratios. p'
    ' is that of an exact McNemar test, if no two examples share a context.'
)


def results(
    works: Sequence[questions.Work], rows: Sequence[runner.Row]
) -> dict[str, Any]:
  """Returns the results of each task, as JSON.

  Prompts that were cut are not compared, because those that show a text twice
  are cut more often. Intervals are over `groups` of examples that share a
  context: `contexts` has the group of each example. `values` are those of the
  first metric; models whose `digest` is equal can be compared by them.

  Args:
    works: the tasks and their examples.
    rows: an answer for each example of each kind of prompt, in the order of the
      examples.
  """
  return {work.name: _of_task(work, rows) for work in works}


def tables(results: Mapping[str, Any], unit: str = 'tokens') -> str:
  """Returns the tables of all tasks, with notes.

  Args:
    results: the result of `results`.
    unit: the unit of the lengths of prompts.
  """
  found = [_table(name, task, unit) for name, task in results.items()]
  return '\n\n'.join([*found, tables_lib.paragraph(_NOTE)])


def _of_task(work, rows):
  groups = {}
  for row in rows:
    if row['task'] == work.name:
      groups.setdefault(row['prompt'], []).append(row)
  contexts = [x.group or x.id for x in work.examples]
  found = {
      kind: _of_kind(work, group, contexts) for kind, group in groups.items()
  }
  warnings = []
  for kind in groups:
    if questions.DEFAULT in groups and kind != questions.DEFAULT:
      warnings += _compare(work, found, groups, kind, contexts)
  names, index = np.unique(contexts, return_inverse=True)
  return {
      'examples': len(work.examples),
      'groups': len(names),
      'contexts': index.tolist(),
      'digest': _digest(work),
      'prompts': found,
      'warnings': warnings,
  }


def _digest(work):
  """Equal for models that were asked the same questions, with any prompts."""
  asked = json.dumps([work.task.metrics, work.examples])
  return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _of_kind(work, rows, contexts):
  times = [r['prefill_ms'] for r in rows if r['prefill_ms'] is not None]
  found = {
      'metrics': {
          name: provenance.plain(
              means.mean(name, _values(rows, name), contexts)
          )
          for name in work.task.metrics
      },
      'values': _values(rows, work.task.metrics[0]),
      'tokens': float(np.mean([row['tokens'] for row in rows])),
      # The median, because a first call may compile, which takes seconds.
      'prefill_ms': float(np.median(times)) if times else None,
      'cut': sum(row['cut'] for row in rows),
  }
  if work.task.kind == 'generate':
    found['errors'] = errors.rates([row['error'] for row in rows])
  return found


def _compare(work, found, groups, kind, contexts):
  """Adds the difference of a kind to `found`; returns the warnings."""
  new, old = found[kind], found[questions.DEFAULT]
  if new['cut'] or old['cut']:
    return [
        f'{kind} is not compared with {questions.DEFAULT}:'
        f' {new["cut"]} and {old["cut"]} of their prompts were cut'
    ]
  new['against_default'] = {}
  for name in work.task.metrics:
    pair = (_values(groups[each], name) for each in (kind, questions.DEFAULT))
    difference, p_value = means.compare(name, *pair, groups=contexts)
    new['against_default'][name] = provenance.plain(difference) | {
        'p_value': p_value
    }
  if work.task.kind != 'generate':
    return []
  gain = new['against_default'][work.task.metrics[0]]['estimate']
  return errors.warnings(kind, gain, new['errors'], old['errors'])


def _values(rows, name):
  return [row['values'][name] for row in rows]


def _table(name, task, unit):
  blocks = [
      _title(name, task),
      tables_lib.aligned(_scores(task, unit)),
  ]
  if differences := [*_differences(task)]:
    header = ['less default', 'metric', 'difference', 'p']
    blocks.append('\n' + tables_lib.aligned([header, *differences]))
  blocks += [tables_lib.paragraph(f'! {x}') for x in task['warnings']]
  return '\n'.join(blocks)


def _title(name, task):
  title = f'{name}: {_counted(task["examples"], "example")}'
  if task['groups'] < task['examples']:
    title += f' about {_counted(task["groups"], "context")}'
  return title


def _counted(number, noun):
  return f'{number:,} {noun}' + 's' * (number != 1)


def _scores(task, unit):
  """Yields the lines of the table of scores, each a list of cells."""
  any_errors = any('errors' in found for found in task['prompts'].values())
  for i, (kind, found) in enumerate(task['prompts'].items()):
    wrong = [*errors.CLASSES] if any_errors else []
    if not i:
      yield ['prompt', unit, 'prefill ms', *found['metrics'], *wrong, 'cut']
    time = found['prefill_ms']
    yield [
        kind,
        f'{found["tokens"]:,.0f}',
        '-' if time is None else f'{time:,.1f}',
        *(_interval(name, e) for name, e in found['metrics'].items()),
        *(f'{100 * found["errors"][c]:.1f}' for c in wrong),
        f'{found["cut"]}',
    ]


def _differences(task):
  for kind, found in task['prompts'].items():
    for name, estimate in found.get('against_default', {}).items():
      p = estimate['p_value']
      yield [
          kind,
          name,
          _interval(name, estimate, sign='+'),
          '-' if p is None else f'{p:.3f}' if p >= 5e-4 else '<0.001',
      ]


def _interval(name, estimate, sign=''):
  scale, form = 100, f'{sign}.1f'
  if scores.find(name).is_perplexity:
    scale, form = 1, '.4g' if not sign else '.3f'
  number, *bounds = (
      '?' if estimate[key] is None else f'{scale * estimate[key]:{form}}'
      for key in ('estimate', 'low', 'high')
  )
  return f'{number} ({" to ".join(bounds)})'
