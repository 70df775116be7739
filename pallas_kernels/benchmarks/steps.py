"""The steps of the program, in order."""

from collections.abc import Callable
from typing import NamedTuple

from pallas_kernels.benchmarks import ceilings
from pallas_kernels.benchmarks import correctness
from pallas_kernels.benchmarks import operations
from pallas_kernels.benchmarks import peers
from pallas_kernels.benchmarks import tuning
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings


class Step(NamedTuple):
  """Cases, and the time at which the next step begins at the latest."""

  cases: Callable[[Settings], list[Case]]
  until: float  # share of the budget; unused time is used at the end


STEPS = {
    'correctness': Step(correctness.cases, 0.35),
    'ceilings': Step(ceilings.cases, 0.4),
    'tuning': Step(tuning.cases, 0.55),
    'winners': Step(tuning.winners, 0.6),
    'goals': Step(operations.cases, 0.85),
    'peers': Step(peers.cases, 1.0),
}
