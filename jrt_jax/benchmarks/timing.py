"""Times repeated calls of a compiled program."""

from collections.abc import Callable
import time
from typing import Any

import jax
import numpy as np

from pallas_kernels.benchmarks import timing


class Timed:
  """Calls `step` repeatedly; each call gets the result of the previous one.

  The calls of a sample are queued as in a run, and the sample ends when the
  last call has finished. The first call is not timed, because it may load
  programs and warm up.

  Args:
    step: a function from a state to the next; it may consume its argument.

  Attributes:
    state: the result of the last call.
    seconds: the mean time of a call, for each sample.
    processor_seconds: the same of the processor time of this process.
  """

  def __init__(self, step: Callable[[Any], Any], state: Any):
    self._step = step
    self.state = jax.block_until_ready(step(state))
    self.seconds, self.processor_seconds = [], []

  def sample(self, calls: int) -> None:
    """Times this many calls in a row."""
    start, processor_start = time.perf_counter(), time.process_time()
    for _ in range(calls):
      self.state = self._step(self.state)
    jax.block_until_ready(self.state)
    self.seconds.append((time.perf_counter() - start) / calls)
    used = time.process_time() - processor_start
    self.processor_seconds.append(used / calls)


def samples() -> int:
  """The number of samples for a median."""
  return 5 if jax.default_backend() == 'cpu' else 20


def time_calls(step: Callable[[Any], Any], state: Any, *, calls: int) -> Timed:
  """Returns `Timed` after all samples, each with this many calls."""
  timed = Timed(step, state)
  for _ in range(samples()):
    timed.sample(calls)
  return timed


def figures(seconds: list[float], *, tokens: int, parts: int = 1) -> dict:
  """Returns median and 90th percentile, and tokens a second at the median.

  Args:
    seconds: the samples.
    tokens: the tokens that a part of a call reads or writes.
    parts: the number of equal parts of a call.
  """
  found = timing.summarize(1e3 * np.asarray(seconds) / parts)
  return {**found, 'tokens_per_second': 1e3 * tokens / found['ms']}
