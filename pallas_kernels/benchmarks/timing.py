"""Times programs of JAX on a device, without what the host adds."""

from collections.abc import Callable
import time
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

SAMPLES = 20
LEAST_MS = 20.0  # of a sample, if calls take as long as they are thought to
MOST_SECONDS = 10.0  # of all samples, once there are five


def measure(
    function: Callable[..., Any], *args: Any, expected_ms: float
) -> dict[str, Any]:
  """Times `function(*args)`.

  One compiled loop calls the function several times; what an empty loop takes
  is subtracted. Calls wait for each other, and all of their results count as
  used.

  Args:
    function: of arrays, returns arrays.
    *args: pytrees of arrays. What they and the results hold should not fit
      into the caches of the device.
    expected_ms: about what a call takes, to choose how many a loop has.

  Returns:
    'ms', the median of a call; 'p90_ms'; how many 'samples', and 'calls' of
    each; 'empty_ms', what was subtracted.
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
  """Calls the function, each time after the last call has ended.

  A number of every result goes into the next call, past a barrier that XLA
  does not look through. So nothing is taken out of the loop, nothing that
  nobody reads is left out, and nothing has to be copied.
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
