"""What `python -m jrt_jax.recall --out=FOLDER` has measured, for exhibits.

A job reads one result, so that whatever was measured, by whom and where, is
recorded like all else.
"""

from collections.abc import Iterator, Mapping
import math
import pathlib
from typing import Any, NamedTuple
import zlib

from jrt_jax import foreign
from jrt_jax import schema
from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import exhibit

_NUMBER = schema.AnyOf(schema.Real(-1e300, 1e300), schema.OneOf(None))
_ESTIMATES = schema.Fields(
    {},
    others=schema.Fields(
        {
            'estimate': _NUMBER,
            'low': _NUMBER,
            'high': _NUMBER,
            'n': schema.Whole(0, 2**40),
            'method': schema.Text(),
        },
        others=schema.Anything(),
    ),
)
_PROMPT = schema.Fields(
    {'metrics': _ESTIMATES},
    optional={'against_default': _ESTIMATES},
    others=schema.Anything(),
)
_TASK = schema.Fields(
    {'prompts': schema.Fields({}, others=_PROMPT)}, others=schema.Anything()
)
_RESULT = schema.Fields(
    {
        'settings': schema.Fields(
            {'model': schema.Text()}, others=schema.Anything()
        ),
        'results': schema.Fields({}, others=_TASK),
    },
    others=schema.Anything(),
)
_START = 'recall-'


class Gain(NamedTuple):
  """A kind of prompt beside the default, on one task; points of percent."""

  model: str
  task: str
  metric: str
  default: statistics.Estimate
  kind: statistics.Estimate
  gain: statistics.Estimate  # of pairs


def jobs(request: exhibit.Request) -> list[exhibit.Job]:
  """Returns a job for each result below --recall.

  Raises:
    FileNotFoundError: --recall is given and has none.
  """
  if request.recall is None:
    return []
  paths = sorted(request.recall.rglob('result.json'))
  if not paths:
    raise FileNotFoundError(
        '--recall must have results of python -m jrt_jax.recall --out=FOLDER,'
        f' got {request.recall}, which has no result.json'
    )
  return [
      exhibit.Job(
          f'{_START}{i}',
          {'file': str(path), 'crc32': zlib.crc32(path.read_bytes())},
      )
      for i, path in enumerate(paths)
  ]


def measure(settings: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns the result of a job of `jobs`.

  Raises:
    ValueError: the file holds something else.
  """
  return foreign.read_json(settings['file'], _RESULT)


def gains(results: exhibit.Results, kind: str) -> Iterator[Gain]:
  """Yields what a kind of prompt gains, by the first metric of each task.

  Results of other jobs are passed over, and tasks that were not asked both ways
  or whose prompts were cut. A perplexity is no share, and is passed over too.
  """
  for name, done in results.items():
    if not name.startswith(_START):
      continue
    model = done.figures['settings']['model']
    for task, found in done.figures['results'].items():
      default, other = (found['prompts'].get(x) for x in ('default', kind))
      if not default or not other or 'against_default' not in other:
        continue
      metric = next(iter(default['metrics']), 'perplexity')
      both = other['metrics'].keys() & other['against_default'].keys()
      if metric == 'perplexity' or metric not in both:
        continue
      yield Gain(
          model,
          task,
          metric,
          _percent(default['metrics'][metric]),
          _percent(other['metrics'][metric]),
          _percent(other['against_default'][metric]),
      )


def _percent(found):
  number = lambda x: math.nan if x is None else x
  three = (number(found[key]) for key in ('estimate', 'low', 'high'))
  return statistics.Estimate(*three, found['n'], found['method']).scaled(100)
