"""Runs jobs and stores each result in a file; finished jobs do not run again.

OUT/NAME/JOB.json  a job: settings, figures, hardware, versions, commit …
OUT/NAME.json      all jobs of an exhibit, written when they are complete
"""

from collections.abc import Callable, Mapping
from concurrent import futures
import json
import pathlib
import re
import shutil
import time
from typing import Any
import zlib

import tqdm

from jrt_jax import foreign
from jrt_jax import schema
from jrt_jax.reporting import provenance
from jrt_jax.reporting import units
from jrt_jax.reproduce import exhibit as exhibit_lib
from jrt_jax.reproduce import workers as workers_lib

# The errors of a failed job; other jobs go on.
_FAILURES = (ArithmeticError, OSError, MemoryError, RuntimeError, ValueError)

_TEXT = schema.Text()
_RECORD = schema.Fields(
    {
        'job': _TEXT,
        'settings': foreign.OBJECT,
        'figures': foreign.OBJECT,
        'hardware': _TEXT,
        'date': _TEXT,
        'seconds': schema.Real(0, 1e9),
    },
    optional={
        'command': schema.Text(2**16),  # of figures of others
        'commit': schema.AnyOf(_TEXT, schema.OneOf(None)),
        'versions': schema.Fields({}, others=_TEXT),
    },
    others=schema.Anything(),
)
_COMPLETE = schema.Fields(
    {
        'exhibit': _TEXT,
        'scale': schema.OneOf(*exhibit_lib.SCALES),
        'command': _TEXT,
        'jobs': schema.ListOf(_RECORD, 0, 100_000),
    },
    others=schema.Anything(),
)


def run(
    name: str,
    exhibit: exhibit_lib.Exhibit,
    request: exhibit_lib.Request,
    out: pathlib.Path,
    *,
    command: str,
    tell: Callable[[str], None] = tqdm.tqdm.write,
    workers: workers_lib.Workers = workers_lib.HERE,
) -> list[str]:
  """Runs the unfinished jobs of an exhibit, and then writes `OUT/NAME.json`.

  Args:
    request: the user's flags, for its plan.
    out: the folder OUT.
    tell: receives a line for each job that failed or that took minutes.
    workers: they run jobs that take minutes; other jobs run in this process.

  Returns:
    A line for each failed job; the next call tries these jobs again.

  Raises:
    ValueError: the exhibit cannot be measured with this request.
  """
  folder = out / name
  folder.mkdir(parents=True, exist_ok=True)
  workers = workers if exhibit.takes_minutes else workers_lib.HERE
  records, failed, pending = {}, {}, {}
  with tqdm.tqdm(desc=name, unit='job', disable=None) as progress:
    while True:
      jobs = exhibit.plan(request, results(records.values()))
      _check(name, jobs)
      progress.total = len(jobs)
      begun = {*records, *failed, *(job.name for job in pending.values())}
      left = [job for job in jobs if job.name not in begun]
      for job in left[: workers.count - len(pending)]:
        future = workers.submit(_record, exhibit.measure, job, folder)
        pending[future] = job
      if not pending:
        break
      done, _ = futures.wait(pending, return_when=futures.FIRST_COMPLETED)
      for future in done:
        job = pending.pop(future)
        try:
          records[job.name], is_new = future.result()
          if is_new and exhibit.takes_minutes:
            took = units.duration(records[job.name]['seconds'])
            tell(f'{name} {job.name}: {took}')
        except _FAILURES as error:
          failed[job.name] = _one_line(name, job, error)
          tell(failed[job.name])
        progress.update()
  if not failed:
    kept = [records[job.name] for job in jobs]
    about = {'exhibit': name, 'scale': request.scale, 'command': command}
    provenance.write_json(out / f'{name}.json', about | _found(exhibit, kept))
  return list(failed.values())


def _found(exhibit, records):
  """The tables and verdict of the jobs, and the jobs."""
  found = results(records)
  verdict, shown = exhibit.verdict(found), exhibit.show(found)
  return {'verdict': verdict, 'shown': shown, 'jobs': records}


def results(records) -> exhibit_lib.Results:
  """Returns the results of recorded jobs, for exhibits."""
  return {
      r['job']: exhibit_lib.Done(r['settings'], r['figures']) for r in records
  }


def read(path: pathlib.Path) -> Mapping[str, Any] | None:
  """Returns the content of `OUT/NAME.json`; None if there is no such file.

  Raises:
    ValueError: the file has another content.
  """
  return foreign.read_json(path, _COMPLETE) if path.exists() else None


def _check(name, jobs):
  names = [job.name for job in jobs]
  for wrong in names:
    if not re.fullmatch(r'[\w.+-]+', wrong) or names.count(wrong) > 1:
      raise ValueError(f'{name}: {wrong!r} must be a valid name of one job')


def _read(folder, job):
  """The record of a job; None unless it was measured with these settings."""
  path = folder / f'{job.name}.json'
  if not path.exists():
    return None
  record = foreign.read_json(path, _RECORD)
  return (
      record if record['settings'] == provenance.plain(job.settings) else None
  )


def _record(measure, job, folder):
  """The record of a job, and whether it is new."""
  if record := _read(folder, job):
    return record, False
  return _measure(measure, job, folder), True


def _measure(measure, job, folder):
  start = time.monotonic()
  settings = provenance.plain(job.settings)
  digest = zlib.crc32(json.dumps(settings, sort_keys=True).encode())
  workdir = folder / 'work' / f'{job.name}-{digest:08x}'
  workdir.mkdir(parents=True, exist_ok=True)
  figures = measure(settings, workdir)
  record = {
      'job': job.name,
      'settings': settings,
      'figures': provenance.plain(figures),
      'seconds': round(time.monotonic() - start, 3),
      **(figures.get('provenance') or provenance.describe(on_jax=True)),
  }
  provenance.write_json(folder / f'{job.name}.json', record)
  shutil.rmtree(workdir)
  return record


def _one_line(name, job, error):
  reason = ' '.join(str(error).split())[:300] or type(error).__name__
  return f'failed: {name} {job.name}: {reason}'
