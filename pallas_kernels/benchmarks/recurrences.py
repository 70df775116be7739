"""The gated delta rule with workloads of its own: in plain JAX, and by JLA.

JLA is the package jax-linear-attention. Its kernels need a Hopper GPU; keys and
values of a head have 64 or 128 numbers.
"""

from collections.abc import Callable
from typing import Any

import pallas_kernels
from pallas_kernels.benchmarks import inputs
from pallas_kernels.benchmarks import roofline
from pallas_kernels.benchmarks.case import Missing
from pallas_kernels.benchmarks.case import Settings

_WIDTH = 128  # of keys
_JLA = {'gdn': 'gated_deltanet', 'mamba2': 'simple_gla'}  # its names


def measured(
    settings: Settings, workload: str, forward: Callable[..., Any]
) -> tuple[Any, ...]:
  """Returns the workload, its cost, a function, and arrays to call it with.

  Args:
    workload: 'gdn' or 'mamba2'.
    forward: maps the arguments of `pallas_kernels.gated_delta_rule` to its
      outputs.
  """
  w = settings.workload(workload)
  sizes = {'width': _WIDTH, 'erases': workload == 'gdn'}
  return (
      w,
      roofline.gated_delta_rule(w, **sizes),
      inputs.differentiated(lambda arrays: forward(**arrays), w),
      inputs.gated_delta_rule(w, **sizes),
  )


def jla(settings: Settings, workload: str) -> Callable[..., Any]:
  """Returns the operation of JLA, with the arguments of ours.

  Raises:
    ImportError: JLA is not installed.
    Missing: this is a rehearsal, on a CPU.
  """
  from jla import ops

  if settings.rehearse:
    raise Missing('there is no GPU in a rehearsal')

  def forward(q, k, v, log_decay, **beta):
    kind, options = _JLA[workload], {'impl': 'mosaic_gpu', 'scale': 1.0}
    y, _ = ops.linear_attention(kind, q, k, v, g=log_decay, **beta, **options)
    return y

  return forward


def chunked(**arrays: Any) -> Any:
  """Our operation, in plain JAX."""
  return pallas_kernels.gated_delta_rule(**arrays)
