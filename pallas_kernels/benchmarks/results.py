"""A folder of results: a file for each step, and one with everything.

Only the process that the user started writes here. Files are written
atomically, so that they are complete whenever the program is ended.
"""

from collections.abc import Iterator, Mapping
import json
import os
import pathlib
from typing import Any

from pallas_kernels.benchmarks import goals
from pallas_kernels.benchmarks import roofline

STEPS = 'correctness', 'ceilings', 'tuning', 'winners', 'goals', 'peers'

Row = Mapping[str, Any]


class Folder:
  """Rows by step and name; skipped rows are measured again."""

  def __init__(self, path: pathlib.Path):
    self.path = path

  def rows(self, step: str) -> dict[str, Row]:
    """The rows of a step so far, by name."""
    return self._read(f'{step}.json').get('rows', {})

  def add(self, step: str, row: Row) -> None:
    """Writes a row; it replaces a row of the same name."""
    rows = self.rows(step) | {row['name']: row}
    self._write(f'{step}.json', {'step': step, 'rows': rows})

  def begin(self, about: Mapping[str, Any]) -> None:
    """Creates the folder, or checks that its results are from this machine.

    Args:
      about: hardware, versions, command, date, and whether it is a rehearsal.

    Raises:
      ValueError: the results in the folder were measured elsewhere.
      OSError: the folder cannot be written.
    """
    self.path.mkdir(parents=True, exist_ok=True)
    before = self.read().get('about')
    for key in ('device', 'rehearsal'):
      if before and before[key] != about[key]:
        raise ValueError(
            f'--out must be a new folder: {self.path} has results with'
            f' {key} {before[key]!r}, not {about[key]!r}'
        )
    self._write('results.json', {'about': about})

  def finish(self) -> dict[str, Any]:
    """Writes the results of all steps to results.json, and returns them."""
    rows = list(self._with_rooflines())
    results = {
        'about': self.read()['about'],
        'goals': goals.judge(rows),
        'rows': rows,
    }
    self._write('results.json', results)
    return results

  def read(self) -> dict[str, Any]:
    """The content of results.json; empty if there is none."""
    return self._read('results.json')

  def ceilings(self) -> dict[str, float]:
    """The measured bandwidth and speed of the device, per second."""
    rows = self.rows('ceilings').values()
    reached = [(r['unit'], r['per_second']) for r in rows if 'unit' in r]
    return {
        f'{unit}_per_second': max(x for u, x in reached if u == unit)
        for unit in {unit for unit, _ in reached}
    }

  def _with_rooflines(self) -> Iterator[Row]:
    ceilings = self.ceilings()
    for step in STEPS:
      for row in self.rows(step).values():
        row = {'step': step} | row
        if len(ceilings) == 2 and row.get('bytes') and 'ms' in row:
          least = roofline.Cost(row['flops'], row['bytes'])
          row['roofline_ms'] = least.milliseconds(**ceilings)
          row['fraction'] = row['roofline_ms'] / row['ms']
        yield row

  def _read(self, name):
    path = self.path / name
    return json.loads(path.read_text()) if path.exists() else {}

  def _write(self, name, content):
    new = self.path / f'{name}.new'
    new.write_text(json.dumps(content, indent=1) + '\n')
    os.replace(new, self.path / name)
