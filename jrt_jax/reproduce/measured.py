"""Exhibits of other commands' results: a job reads one file.

Without --results these are the results of `configs/study.py`, which come with
the package, in `jrt_jax/reproduce/study`.
"""

from collections.abc import Collection, Mapping
import math
import pathlib
from typing import Any
import zlib

from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import exhibit

STUDY = pathlib.Path(__file__).parent / 'study'

# The kinds of our models, by the first of these layers that a model has.
KINDS = {
    'pla': 'JRT-RNN',
    'la': 'Based',
    'attention': 'attention',
    'swa': 'window and sinks',
}


def kind(mixers: Collection[str], name: str) -> str:
  """Returns the kind of a model with these layers, or `name` if it has none."""
  return next((words for x, words in KINDS.items() if x in mixers), name)


def jobs(
    request: exhibit.Request, file: str, command: str
) -> list[exhibit.Job]:
  """Returns a job for each file of a name below --results.

  Args:
    request: its `results` is the folder.
    file: the name of the files.
    command: the command that writes such files.

  Raises:
    FileNotFoundError: there is no such file.
  """
  folder = request.results or STUDY
  paths = sorted(folder.rglob(file))
  if not paths:
    raise FileNotFoundError(
        f'--results must have what {command} writes, got {folder}, which has no'
        f' {file}'
    )
  return [
      exhibit.Job(
          f'{path.stem}-{i}',
          {'file': str(path), 'crc32': zlib.crc32(path.read_bytes())},
      )
      for i, path in enumerate(paths)
  ]


def estimate(found: Mapping[str, Any]) -> statistics.Estimate:
  """Returns an estimate from its JSON."""
  number = lambda x: math.nan if x is None else x
  three = (number(found[key]) for key in ('estimate', 'low', 'high'))
  return statistics.Estimate(*three, n=found['n'], method=found['method'])
