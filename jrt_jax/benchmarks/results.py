"""Measured rows: as JSON, as lines of a table, and their comparisons."""

from collections.abc import Mapping
import dataclasses
import textwrap
from typing import Any

from jrt_jax.benchmarks import plan
from jrt_jax.prefix import policies
from jrt_jax.reporting import tables
from jrt_jax.reporting import units

_INDENT = ' ' * 6
_FIGURES = {
    'tokens_per_second': ('{} tokens/s', '{:,.0f}'.format),
    'ms': ('{} ms', '{:,.3f}'.format),
    'p90_ms': ('90 % within {} ms', '{:,.3f}'.format),
    'processor_ms': ('{} ms of processor time', '{:,.0f}'.format),
    'mfu': ('MFU {}', '{:.1%}'.format),
    'compiled_bytes': ('program {}', units.size),
    'peak_bytes': ('memory at most {}', units.size),
}


def row(
    row: plan.Row, config: Mapping[str, Any], figures: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns a row as it is recorded.

  Args:
    figures: the measured figures, or an `error`.
  """
  result = {
      'goal': row.goal,
      'what': row.what,
      'model': row.model,
      'shape': {
          'batch_size': config['batch_size'],
          'sequence_length': config['sequence_length'],
          'prefix': policies.prefix_capacity(
              config['prefix'], config['sequence_length']
          ),
          'dtype': config['model']['dtype'],
      },
      **figures,
  }
  if target := row.target:
    result['target'] = dataclasses.asdict(target)
    if target.figure in figures:
      result['met'] = target.met(figures[target.figure])
  return result


def lines(row: Mapping[str, Any]) -> str:
  """Returns what was measured, its figures, and its target or its error."""
  shape = row['shape']
  length = row.get('prompt_length', shape['sequence_length'])
  what = (
      f'{row["goal"]:4}  {row["what"]:14}  {row["model"]:14} '
      f' {shape["batch_size"]} x {length}'
  )
  figures = [
      form.format(shown(row[name]))
      for name, (form, shown) in _FIGURES.items()
      if row.get(name)
  ]
  below = [
      textwrap.fill(
          text, tables.WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT
      )
      for text in (', '.join(figures), _remark(row))
      if text
  ]
  return '\n'.join([what, *below])


def _remark(row):
  if error := row.get('error'):
    return f'error: {error}'
  remarks = [f'{k} {row[k]:.3f}' for k in ('drift', 'growth') if k in row]
  state, expected = map(row.get, ('state_bytes', 'expected_state_bytes'))
  if state != expected:
    remarks.append(f'the state has {state:,} bytes instead of {expected:,}')
  if 'met' in row:
    remarks.append(f'{plan.Target(**row["target"])}: {row["met"]}')
  return ', '.join(remarks)


def remarks(record: Mapping[str, Any]) -> list[str]:
  """Returns the remarks below the table, one a line."""
  rows = record['rows']
  lines = _comparisons(rows)
  lines += dict.fromkeys(
      f'{row["model"]}: {line}'
      for row in rows
      for line in row.get('implementations', ())
  )
  if record['left']:
    lines.append(
        'not measured, because the budget was used up: '
        + '; '.join(record['left'])
    )
  return lines


def _comparisons(rows):
  """A line for each baseline that compares our model with it."""
  ours = {_work(row): row for row in rows if row['model'].startswith('jrt')}
  lines = []
  for row in rows:
    own = ours.get(_work(row))
    if own is None or own is row:
      continue
    figure = 'peak_bytes' if 'growth' in row else 'tokens_per_second'
    if figure in row and figure in own:
      lines.append(
          f'{row["goal"]} {row["what"]}: {own["model"]} has'
          f' {own[figure] / row[figure]:.2f}x the {figure} of {row["model"]}'
      )
  return lines


def _work(row):
  shape, size = row['shape'], row['model'].split('_')[-1]
  work = shape['batch_size'], shape['sequence_length'], size
  return row['goal'], row['what'], *work
