"""How long a compiled program takes, call after call."""

from collections.abc import Callable
import time
from typing import Any

import jax
import numpy as np


class Timed:
  """Calls `step` over and over; each call gets what the last one returned.

  The calls of a sample are queued as those of a run would be, and the last one
  is waited for. The first call is not timed: it may load and warm up.

  Args:
    step: from a state to the next; it may consume the one it gets.
    state: of the first call.

  Attributes:
    state: what the last call returned.
    seconds: of a call, one mean for each sample.
  """

  def __init__(self, step: Callable[[Any], Any], state: Any):
    self._step = step
    self.state = jax.block_until_ready(step(state))
    self.seconds = []

  def sample(self, calls: int) -> None:
    """Times so many calls in a row."""
    start = time.perf_counter()
    for _ in range(calls):
      self.state = self._step(self.state)
    jax.block_until_ready(self.state)
    self.seconds.append((time.perf_counter() - start) / calls)


def samples() -> int:
  """How many samples a median is of."""
  return 5 if jax.default_backend() == 'cpu' else 20


def time_calls(step: Callable[[Any], Any], state: Any, *, calls: int) -> Timed:
  """Returns `Timed` after all samples, each of so many calls."""
  timed = Timed(step, state)
  for _ in range(samples()):
    timed.sample(calls)
  return timed


def figures(seconds: list[float], *, tokens: int, parts: int = 1) -> dict:
  """Returns median and 90th percentile, and tokens a second at the median.

  Args:
    seconds: the samples.
    tokens: that a part of a call reads or writes.
    parts: equal steps that a call consists of.
  """
  ms = 1e3 * np.asarray(seconds) / parts
  return {
      'ms': float(np.median(ms)),
      'p90_ms': float(np.percentile(ms, 90)),
      'samples': len(seconds),
      'tokens_per_second': 1e3 * tokens / float(np.median(ms)),
  }
