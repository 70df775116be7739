"""Peers: other implementations that are timed, if they are installed.

A peer computes the same outputs, or is an operation that a user would run
instead; its row says which. Frameworks do not share a process.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax

from pallas_kernels.benchmarks import inputs as inputs_lib
from pallas_kernels.benchmarks import operations
from pallas_kernels.benchmarks import recurrences
from pallas_kernels.benchmarks import roofline
from pallas_kernels.benchmarks.case import Case
from pallas_kernels.benchmarks.case import Missing
from pallas_kernels.benchmarks.case import Settings

LENGTHS = 'G6-2k', 'G6-4k', 'G6-8k', 'G6-16k'  # and G1, of 32768


def cases(settings: Settings) -> list[Case]:
  """All cases; those that goals need come first."""
  return [
      Case(
          f'{workload} {name}',
          functools.partial(_run, settings, workload, name),
          process,
      )
      for process, names in PEERS.items()
      for name, workloads in names.items()
      for workload in settings.few(workloads)
  ]


# The peers of each process, and their workloads.
PEERS = {
    'torch': {
        'torch_flash': ('G1', 'G7', *LENGTHS, 'G10'),
        'official_torch': ('G9', 'G6-2k'),
    },
    'jax': {
        'chunked': ('G1', 'G9', 'G7', 'G10', *LENGTHS),
        'jax_cudnn': ('G1', 'G10', 'G7', *LENGTHS),
        'reference': ('G6-2k', 'G9'),
    },
    'fla': {'fla_chunk_160': ('G1', 'G9', 'G10'), 'fla_chunk_273': ('G1',)},
    'pallas attention': {'pallas_attention': ('G1',)},
    'jla': {
        'jla_attention': ('G1', 'G10', 'G12', 'G12-backward'),
        'jla_gated_delta_rule': ('gdn', 'mamba2'),
    },
    'dew': {'dew_fa3': ('G1', 'G10', 'G12', 'G12-backward')},
}


def _run(settings, workload, name):
  if name.startswith(('torch_', 'official_', 'fla_')):
    from pallas_kernels.benchmarks import torch_peers  # needs torch

    return torch_peers.measure(settings, workload, name)
  return JAX_PEERS[name](settings, workload, name)


def _ours_without_kernels(settings, workload, name):
  w = settings.workload(workload)
  cost = roofline.prefix_linear_attention(w)
  function = inputs_lib.operation(w, implementation=name)
  arrays = inputs_lib.prefix_linear_attention(w)
  return operations.timed(workload, name, w, cost, function, arrays, slower=20)


def _softmax(make: Callable[..., Callable[..., Any]]):
  """Causal softmax attention with heads of width V; in a window for G12."""

  def run(settings, workload, name):
    w = settings.workload(workload)
    window = operations.WINDOW if workload.startswith('G12') else None
    attention = make(settings, window)
    forward = lambda x: attention(x['q'], x['k'], x['v'])
    function = inputs_lib.differentiated(forward, w)
    cost = roofline.softmax_attention(w, window)
    arrays = inputs_lib.softmax_attention(w)
    return operations.timed(workload, name, w, cost, function, arrays)

  return run


def _cudnn(settings, window):
  del window  # what G12 times itself
  return functools.partial(
      jax.nn.dot_product_attention,
      is_causal=True,
      implementation='xla' if settings.rehearse else 'cudnn',
  )


def _pallas(settings, window):
  """The Hopper kernel among the examples that come with jax."""
  from jax.experimental.pallas.ops.gpu import attention_mgpu

  del window
  _needs_gpu(settings)
  config = attention_mgpu.TuningConfig(
      block_q=128, block_kv=128, max_concurrent_steps=2, causal=True
  )
  return functools.partial(attention_mgpu.attention, config=config)


def _jla(settings, window):
  from jla.ops.mosaic_gpu import attention

  _needs_gpu(settings)
  return functools.partial(attention.flash_attention, sliding_window=window)


def _jla_recurrence(settings, workload, name):
  forward = recurrences.jla(settings, workload)
  measured = recurrences.measured(settings, workload, forward)
  return operations.timed(workload, name, *measured)


def _dew(settings, window):
  import dew_flash_attn

  _needs_gpu(settings)
  return functools.partial(
      dew_flash_attn.flash_mha,
      is_causal=True,
      window_size=(-1, -1) if window is None else (window - 1, 0),
  )


def _needs_gpu(settings):
  if settings.rehearse:
    raise Missing('there is no GPU in a rehearsal')


JAX_PEERS = {
    'chunked': _ours_without_kernels,
    'reference': _ours_without_kernels,
    'jax_cudnn': _softmax(_cudnn),
    'pallas_attention': _softmax(_pallas),
    'jla_attention': _softmax(_jla),
    'jla_gated_delta_rule': _jla_recurrence,
    'dew_fa3': _softmax(_dew),
}
