"""What steps are made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pallas_kernels.benchmarks import goals
from pallas_kernels.benchmarks.results import Folder
from pallas_kernels.benchmarks.roofline import Workload


class Missing(Exception):
  """What a row needs is not on this machine."""


class Waiting(Exception):
  """What a row needs has not been found out yet, or is wrong."""


class Case(NamedTuple):
  """What gives one row of results."""

  name: str
  run: Callable[[], Mapping[str, Any]]
  # Neighbours of the same name run in one process, until something fails there.
  process: str = 'jax'
  limit: float = 90.0  # seconds after which it counts as hanging


class Settings(NamedTuple):
  """What all cases have to know.

  Attributes:
    folder: with the rows that are there already.
    rehearse: whether to do the same with tiny shapes on a CPU, with plain jnp
      in place of the kernels and two repetitions.
  """

  folder: Folder
  rehearse: bool = False

  @property
  def implementation(self) -> str:
    """What runs under the name of the kernels."""
    return 'chunked' if self.rehearse else goals.OURS

  def workload(self, name: str) -> Workload:
    """One of `WORKLOADS`, or a tiny one in its place."""
    w = goals.WORKLOADS[name]
    if not self.rehearse:
      return w
    return w._replace(B=1, H=1, L=w.L // 128, P=w.P // 128)

  def few(self, choices: Sequence[Any]) -> Sequence[Any]:
    """All of the choices, or two to rehearse with."""
    return choices[:2] if self.rehearse else choices

  def repetitions(self, count: int) -> int:
    """How often to do what has to be done `count` times."""
    return 2 if self.rehearse else count
