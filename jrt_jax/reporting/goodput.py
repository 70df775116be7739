"""Goodput: the share of a run's time that was spent in steps that count.

workdir/goodput.json has an entry for each command that has worked on a run: the
step that it began with, the last one that it has recorded, and what it did for
how many seconds. The time between two commands is nobody's and does not count.

Source: the word is that of https://github.com/AI-Hypercomputer/ml-goodput-measurement,
which counts the time between two commands as lost, too.
"""

from collections.abc import Mapping, Sequence
import contextlib
import json
import pathlib
from typing import Any

from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.reporting import units
from jrt_jax.runtime import phases as phases_lib
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import ListOf
from jrt_jax.schema import Real
from jrt_jax.schema import Whole

# What phases are counted as; those of steps count as `steps`, apart from the
# part of DATA in which devices were idle.
_KINDS = {
    'startup': (
        phases_lib.IMPORTS,
        phases_lib.JOINING,
        phases_lib.PREPARING,
        phases_lib.RESTORING,
    ),
    'compile': (phases_lib.COMPILING,),
    'saves': (phases_lib.SAVING,),
    'evaluations': (
        phases_lib.EVALUATING,
        phases_lib.PROBING,
        phases_lib.ENDING,
    ),
}
_LOSSES = (*_KINDS, 'data', 'restarts')

_SECONDS = Real(0, 10**12)
_FILE = Fields(
    {
        'commands': ListOf(
            Fields(
                {
                    'first': Whole(0, 10**9),
                    'last': Whole(0, 10**9),
                    'seconds': Fields(
                        {name: _SECONDS for name in ('steps', 'data', *_KINDS)}
                    ),
                },
                others=Anything(),
            ),
            0,
            10**5,
        )
    }
)


class Goodput:
  """The time of a run, over all commands that have worked on it.

  Args:
    workdir: an existing folder; None: nothing is written.
    step: the step that this command begins with.
    phases: what this process does.

  Attributes:
    phases: as above.
  """

  def __init__(
      self,
      workdir: pathlib.Path | None,
      step: int,
      phases: phases_lib.Phases,
  ):
    self._path = workdir and workdir / 'goodput.json'
    self.phases = phases
    self._earlier = _read(self._path) if workdir else []
    self._first = step

  def record(self) -> dict[str, float]:
    """Writes the time until now to disk if it can; returns it as metrics."""
    commands = self._commands()
    if self._path:
      text = json.dumps({'commands': commands}, indent=2)
      with contextlib.suppress(OSError):  # why a run ends is more important
        atomic_write.text(self._path, f'{text}\n')
    parts = divide(commands)
    wall = sum(parts.values())
    return {
        'goodput': parts['steps'] / wall,
        'wall_seconds': wall,
        **{f'lost/{name}_seconds': parts[name] for name in _LOSSES},
    }

  def lines(self) -> dict[str, str]:
    """Returns lines of the final table, by name."""
    parts = divide(self._commands())
    wall = sum(parts.values())
    lost = ', '.join(
        f'{name} {units.duration(parts[name])}'
        for name in _LOSSES
        if parts[name] >= 0.5
    )
    return {
        'time': units.duration(wall),
        '  goodput': (
            f'{parts["steps"] / wall:.1%} of it was spent in steps that count'
        ),
        '  the rest': lost or 'less than a second',
    }

  def _commands(self):
    own = {
        'first': self._first,
        'last': max(self.phases.present.step, self._first),
        'seconds': {k: round(x, 3) for k, x in by_kind(self.phases).items()},
        'phases': {k: round(x, 3) for k, x in self.phases.seconds().items()},
    }
    return [*self._earlier, own]


def by_kind(phases: phases_lib.Phases) -> dict[str, float]:
  """Returns the seconds of a process by what they are counted as."""
  seconds = phases.seconds()
  kinds = {
      kind: sum(seconds.get(phase, 0.0) for phase in members)
      for kind, members in _KINDS.items()
  }
  return {
      'steps': phases.of_steps() - phases.idle,
      'data': phases.idle,
      **kinds,
  }


def divide(commands: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  """Returns the seconds of all commands by what they were spent on.

  A later command repeats the steps after the checkpoint that it begins with:
  the earlier time in these steps is that of `restarts`. All steps of a command
  are taken to be equally long.
  """
  parts = dict.fromkeys(('steps', *_LOSSES), 0.0)
  kept = float('inf')  # steps that no later command repeats
  for command in reversed(commands):
    first, last = command['first'], command['last']
    repeated = max(last - max(first, kept), 0) / max(last - first, 1)
    for name, seconds in command['seconds'].items():
      parts[name] += seconds
    lost = repeated * command['seconds']['steps']
    parts['steps'] -= lost
    parts['restarts'] += lost
    kept = min(kept, first)
  return parts


def startup(phases: phases_lib.Phases) -> str:
  """Returns a line that says how long each part of the start has taken."""
  parts = phases.seconds()
  told = (
      f'{name} {seconds:.1f} s{phases.remarks.get(name, "")}'
      for name, seconds in parts.items()
  )
  return f'started in {sum(parts.values()):.1f} s: {", ".join(told)}'


def _read(path):
  """Returns the commands that a file has; none if there is no intact file."""
  try:
    return foreign.read_json(path, _FILE)['commands']
  except (OSError, ValueError):
    return []
