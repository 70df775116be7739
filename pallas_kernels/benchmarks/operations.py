"""Times the workloads of goals: the operation, and other parts of a model.

Whole models have a command of their own, `jrt_jax.benchmark`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels.benchmarks import goals
from pallas_kernels.benchmarks import inputs as inputs_lib
from pallas_kernels.benchmarks import recurrences
from pallas_kernels.benchmarks import roofline
from pallas_kernels.benchmarks import timing
from pallas_kernels.benchmarks import tuning
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.roofline import Workload

WINDOW = 129  # keys of sliding-window attention: a token and 128 before it

# The most important goals come first.
FIRST = 'G1', 'G9', 'G7', 'G10'


def cases(settings: Settings) -> list[Case]:
  """One row for each workload."""
  names = (*FIRST, *(name for name in goals.WORKLOADS if name not in FIRST))
  return [_case(settings, name) for name in names]


def _case(settings, name):
  goal = name.split('-')[0]
  others = {
      'G12': _time_window,
      'G13': _time_convolution,
      'gdn': _time_recurrence,
      'mamba2': _time_recurrence,
  }
  time = others.get(goal, _time)
  return Case(name, functools.partial(time, settings, name))


def _time(settings, name):
  """Prefix linear attention, with the fastest tiles."""
  w = settings.workload(name)
  tiles = tuning.trusted(settings, w)
  options = {} if settings.rehearse else {'tiles': tiles}
  operation = inputs_lib.operation(
      w, implementation=settings.implementation, **options
  )
  arrays = inputs_lib.prefix_linear_attention(w)
  cost = roofline.prefix_linear_attention(w)
  row = timed(name, goals.OURS, w, cost, operation, arrays)
  return row | {'tiles': tiles.entry()}


def timed(
    name: str,
    implementation: str,
    w: Workload,
    cost: roofline.Cost,
    function: Any,
    arrays: inputs_lib.Arrays,
    slower: float = 3.0,
) -> dict[str, Any]:
  """A row of results.

  Args:
    cost: the cost for the roofline.
    function: a function of `arrays`.
    slower: the expected time of a call, in multiples of the roofline.
  """
  return about(name, implementation, w, cost) | timing.measure(
      function,
      jax.block_until_ready(arrays),
      expected_ms=slower * cost.milliseconds(**roofline.NOMINAL),
  )


def about(
    name: str, implementation: str, w: Workload, cost: roofline.Cost
) -> dict[str, Any]:
  """The fields of a row besides the times."""
  return {
      'workload': name,
      'implementation': implementation,
      'shape': w._asdict(),
      **cost._asdict(),
  }


def _time_window(settings, name):
  """Sliding-window attention by cuDNN, with rotary embeddings by XLA."""
  w = settings.workload(name)
  attention = functools.partial(
      jax.nn.dot_product_attention,
      is_causal=True,
      local_window_size=(WINDOW - 1, 0),
      implementation='xla' if settings.rehearse else 'cudnn',
  )

  def forward(x):
    return attention(_rotated(x['q']), _rotated(x['k']), x['v'])

  cost = roofline.softmax_attention(w, WINDOW)
  arrays = inputs_lib.softmax_attention(w)
  function = inputs_lib.differentiated(forward, w)
  return timed(name, 'jax_cudnn', w, cost, function, arrays)


def _rotated(x):
  """Rotary position embedding of [B, L, H, D]."""
  L, D = x.shape[1], x.shape[-1]
  frequencies = 10000 ** (-jnp.arange(0, D, 2) / D)
  angles = (jnp.arange(L)[:, None] * frequencies)[:, None]
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  rotated = jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
  return rotated.astype(x.dtype)


def _time_recurrence(settings, name):
  """The gated delta rule, for which there is no kernel."""
  measured = recurrences.measured(settings, name, recurrences.chunked)
  return timed(name, 'chunked', *measured, slower=20)


def _time_convolution(settings, name):
  """silu(conv₃(u)) · gate, the gated short convolution, compiled by XLA."""
  w = settings.workload(name)
  shape = w.B, w.L, w.V
  arrays = inputs_lib.normal((('u', shape), ('gate', shape), ('dy', shape)), 0)
  taps = jnp.array([0.25, 0.5, 1.0], jnp.bfloat16)

  def forward(x):
    padded = jnp.pad(x['u'], ((0, 0), (2, 0), (0, 0)))
    convolved = sum(taps[i] * padded[:, i : i + w.L] for i in range(3))
    return jax.nn.silu(convolved) * x['gate']

  cost = roofline.gated_convolution(
      B=w.B, L=w.L, channels=w.V, backward=w.backward
  )
  function = inputs_lib.differentiated(forward, w)
  return timed(name, 'xla', w, cost, function, arrays)
