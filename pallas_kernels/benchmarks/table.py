"""Results as Markdown, for READMEs."""

from collections.abc import Mapping
from typing import Any


def markdown(results: Mapping[str, Any]) -> str:
  """Times of each workload, the least in bold; then the goals."""
  about = results['about']
  versions = ', '.join(f'{k} {v}' for k, v in about['versions'].items())
  lines = [f'{about["device"]}, {versions}, {about["date"]}']
  if about['rehearsal']:
    lines.append('A rehearsal: the numbers mean nothing.')
  lines += ['', '    ' + about['command'], '', *_times(results['rows'])]
  if not about['rehearsal']:
    lines += _goals(results['goals'])
  return '\n'.join(lines)


def _times(rows):
  timed = [row for row in rows if 'workload' in row and 'ms' in row]
  by_workload = {}
  for row in timed:
    by_workload.setdefault(row['workload'], []).append(row)
  lines = [
      '| workload | shape | implementation | ms (p90) | of the roofline |',
      '|---|---|---|---|---|',
  ]
  for workload, rows in by_workload.items():
    rows = sorted(rows, key=lambda row: row['ms'])
    lines += [_time(workload, row, row is rows[0]) for row in rows]
  return [*lines, '']


def _time(workload, row, fastest):
  shape = row['shape']
  sizes = ' '.join(f'{name}{shape[name]}' for name in 'BHLPV')
  sizes += ', with gradients' if shape['backward'] else ''
  ms = f'{row["ms"]:.4g}'
  ms = f'**{ms}**' if fastest else ms
  if 'p90_ms' in row:
    ms += f' ({row["p90_ms"]:.4g})'
  fraction = f'{row["fraction"]:.0%}' if 'fraction' in row else ''
  cells = workload, sizes, row['implementation'], ms, fraction
  return f'| {" | ".join(cells)} |'


def _goals(goals):
  lines = [
      '| goal | measure | measured | must | stretch |',
      '|---|---|---|---|---|',
  ]
  for goal in goals:
    if goal['value'] is None:
      continue
    sign = '≥' if goal['at_least'] else '≤'
    cells = [goal['goal'], goal['measure'], f'{goal["value"]:.3g}']
    for level, met in (('must', 'met'), ('stretch', 'stretch_met')):
      limit, verdict = goal[level], 'met' if goal[met] else 'not met'
      cells.append('' if limit is None else f'{sign} {limit:g}: {verdict}')
    lines.append(f'| {" | ".join(cells)} |')
  return lines
