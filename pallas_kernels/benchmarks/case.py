"""Cases: the parts of steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pallas_kernels.benchmarks import goals
from pallas_kernels.benchmarks.results import Folder
from pallas_kernels.benchmarks.roofline import Workload


class Missing(Exception):
  """This machine lacks something that a row needs."""


class Waiting(Exception):
  """A row needs another result that is missing, or wrong."""


class Case(NamedTuple):
  """A measurement that gives one row of results."""

  name: str
  run: Callable[[], Mapping[str, Any]]
  # Consecutive cases of the same name run in one process, until a case fails.
  process: str = 'jax'
  limit: float = 90.0  # seconds after which it counts as hanging


class Settings(NamedTuple):
  """The settings of all cases.

  Attributes:
    folder: the folder with existing rows.
    rehearse: whether to use tiny shapes on a CPU, with plain jnp in place of
      the kernels and two repetitions.
  """

  folder: Folder
  rehearse: bool = False

  @property
  def implementation(self) -> str:
    """The implementation that is measured as the kernels."""
    return 'chunked' if self.rehearse else goals.OURS

  def workload(self, name: str) -> Workload:
    """One of `WORKLOADS`, or a tiny one in its place."""
    w = goals.WORKLOADS[name]
    if not self.rehearse:
      return w
    return w._replace(B=1, H=1, L=w.L // 128, P=w.P // 128)

  def few(self, choices: Sequence[Any]) -> Sequence[Any]:
    """All choices, or two of them for a rehearsal."""
    return choices[:2] if self.rehearse else choices

  def repetitions(self, count: int) -> int:
    """`count`, or fewer for a rehearsal."""
    return 2 if self.rehearse else count
