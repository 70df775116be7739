"""Times JAX programs on a device, without the overhead of the host."""

from collections.abc import Callable
import time
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

SAMPLES = 20
LEAST_MS = 20.0  # of a sample, if calls take as long as expected
MOST_SECONDS = 10.0  # for all samples, after the first five


def measure(
    function: Callable[..., Any], *args: Any, expected_ms: float
) -> dict[str, Any]:
  """Times `function(*args)`.

  A compiled loop calls the function several times; the time of an empty loop is
  subtracted. Calls run one after another, and all their results are used.

  Args:
    function: a function from arrays to arrays.
    *args: pytrees of arrays. Together with the results they should not fit into
      the caches of the device.
    expected_ms: the approximate time of a call, to choose the calls of a loop.

  Returns:
    'ms', the median of a call; 'p90_ms'; the number of 'samples' and of 'calls'
    in each; 'empty_ms', the subtracted time.
  """
  calls = int(np.clip(LEAST_MS / expected_ms, 1, 50))
  empty = _sample(_loop(lambda *args: args, calls), args)
  total = _sample(_loop(function, calls), args)
  return summarize(1e3 * (total - np.median(empty)) / calls) | {
      'calls': calls,
      'empty_ms': 1e3 * float(np.median(empty)) / calls,
  }


def summarize(ms: np.ndarray) -> dict[str, Any]:
  """Median, 90th percentile and number of the times."""
  median, p90 = np.percentile(ms, (50, 90))
  return {'ms': float(median), 'p90_ms': float(p90), 'samples': len(ms)}


def _loop(function, calls):
  """A loop in which each call starts after the previous one has ended.

  One number of every result enters the next call, through a barrier that XLA
  cannot optimise. So XLA moves nothing out of the loop, drops no unused
  results, and copies nothing.
  """

  def loop(*args):
    def body(_, token):
      current, token = lax.optimization_barrier((args, token))
      results = lax.optimization_barrier(function(*current))
      numbers = (x[(0,) * x.ndim] for x in jax.tree.leaves(results))
      return 0 * token + sum(x.astype(jnp.float32) for x in numbers)

    return lax.fori_loop(0, calls, body, jnp.float32(0))

  return loop


def _sample(loop, args):
  program = jax.jit(loop).lower(*args).compile()
  for _ in range(2):  # warms up
    jax.block_until_ready(program(*args))
  seconds = []
  while len(seconds) < SAMPLES:
    start = time.perf_counter()
    jax.block_until_ready(program(*args))
    seconds.append(time.perf_counter() - start)
    if len(seconds) >= 5 and sum(seconds) > MOST_SECONDS:
      break
  return np.array(seconds)
