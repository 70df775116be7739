"""What other commands have measured, for exhibits: a job reads one file.

Without --results these are the runs of `configs/study.py`, whose metrics and
answers come with the package, in `jrt_jax/reproduce/study`.
"""

from collections.abc import Collection, Mapping
import math
import pathlib
from typing import Any
import zlib

from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import exhibit

STUDY = pathlib.Path(__file__).parent / 'study'

# What a model of ours is, by the first of these layers that it has.
KINDS = {
    'pla': 'JRT-RNN',
    'la': 'Based',
    'attention': 'attention',
    'swa': 'window and sinks',
}


def kind(mixers: Collection[str], name: str) -> str:
  """Returns what model has such layers: of KINDS, or its name if it is none."""
  return next((words for x, words in KINDS.items() if x in mixers), name)


def jobs(
    request: exhibit.Request, file: str, command: str
) -> list[exhibit.Job]:
  """Returns a job for each file of a name below --results.

  Args:
    request: with `results`.
    file: its name.
    command: which writes it.

  Raises:
    FileNotFoundError: there is none.
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
  """Returns an estimate as it was before it became JSON."""
  number = lambda x: math.nan if x is None else x
  three = (number(found[key]) for key in ('estimate', 'low', 'high'))
  return statistics.Estimate(*three, n=found['n'], method=found['method'])
