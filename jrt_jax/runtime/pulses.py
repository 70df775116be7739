"""What the processes of a run tell each other about their work."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Pulse(NamedTuple):
  """What a process has last told the others.

  Attributes:
    count: how often it has told something.
    phase: one of `phases`.
    seconds: how long it has been in it without progress.
    step: number of steps that it has started.
    host: seconds that it has spent in steps without waiting for the others.
    is_stuck: whether it is about to end the run.
  """

  count: int
  phase: str
  seconds: float
  step: int
  host: float
  is_stuck: bool


class Peers:
  """What the processes of a run have told, and when this one has heard it.

  Args:
    own: the number of this process.
    count: how many there are.
    now: the time in seconds, by any clock.
  """

  def __init__(self, own: int, count: int, now: float):
    self._own = own
    self._heard = dict.fromkeys(range(count), now)
    self._read: dict[int, float] = {}  # host seconds and steps at `slowest`
    self._answered = now
    self.pulses: dict[int, Pulse] = {}

  def numbers(self) -> set[int]:
    """Returns the numbers of all processes."""
    return {*self._heard}

  def hear(self, pulses: Mapping[int, Pulse], now: float) -> None:
    """Takes the latest pulses of all processes."""
    self._answered = now
    for k, pulse in pulses.items():
      if k not in self.pulses or pulse.count != self.pulses[k].count:
        self._heard[k] = now
    self.pulses = {**self.pulses, **pulses}  # other threads read it

  def silent(self, now: float, seconds: float) -> list[int]:
    """Returns the processes that have not answered for so many seconds.

    Without an answer of process 0, through which all communicate, nothing is
    known about the others.
    """
    if now - self._answered > seconds:
      return [0] if self._own else []
    return [
        k
        for k, heard in self._heard.items()
        if k != self._own and now - heard > seconds
    ]

  def stuck(self) -> set[int]:
    """Returns the processes that are about to end the run."""
    return {k for k, pulse in self.pulses.items() if pulse.is_stuck}

  def report(self, silent: Sequence[int]) -> str:
    """Returns who does not answer; if all do, who is behind, and what all do."""
    if silent:
      told = [f'{_name(k)} does not answer' + self._last(k) for k in silent]
      return '; '.join(told)
    behind = min((pulse.step for pulse in self.pulses.values()), default=0)
    doing = {}
    for k, pulse in sorted(self.pulses.items()):
      what = f'{pulse.phase} after step {pulse.step}'
      doing.setdefault((pulse.step > behind, what), []).append(k)
    # What only a few do is told first: the others wait for them.
    order = sorted(doing, key=lambda x: (x[0], len(doing[x])))
    return '; '.join(f'{_names(doing[x])}: {x[1]}' for x in order)

  def host_seconds(self) -> dict[str, float | None]:
    """Returns the median and the slowest process, since the last call.

    A process counts with its seconds of a step without waiting for others:
    waiting for data, placing them, and starting the step.
    """
    seconds = {}
    for k, pulse in self.pulses.items():
      host, step = self._read.get(k, (pulse.host, pulse.step))
      if pulse.step > step:
        seconds[k] = (pulse.host - host) / (pulse.step - step)
      if pulse.step > step or k not in self._read:
        self._read[k] = pulse.host, pulse.step
    order = sorted(seconds, key=seconds.__getitem__)
    middle, last = (
        (order[(len(order) - 1) // 2], order[-1]) if order else (-1, -1)
    )
    return {
        'median_host_seconds': seconds.get(middle),
        'slowest_host_seconds': seconds.get(last),
        'slowest_process': last if order else None,
    }

  def _last(self, k):
    if k not in self.pulses:
      return ''
    pulse = self.pulses[k]
    return f' (it was {pulse.phase} after step {pulse.step})'


def _name(k):
  return f'process {k}'


def _names(numbers):
  if len(numbers) == 1:
    return _name(numbers[0])
  shown = ', '.join(map(str, numbers[:8]))
  return f'processes {shown}' + ' and others' * (len(numbers) > 8)
