"""Peers that are written in PyTorch, timed by CUDA events."""

import functools
import math
import time
from typing import Any

import numpy as np
import torch
from torch.nn import attention
from torch.nn import functional


from pallas_kernels.benchmarks import operations
from pallas_kernels.benchmarks import roofline
from pallas_kernels.benchmarks import timing
from pallas_kernels.benchmarks.case import Missing
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.roofline import D
from pallas_kernels.benchmarks.roofline import Workload


def measure(settings: Settings, workload: str, name: str) -> dict[str, Any]:
  """Returns the row of a peer; ImportError if a package is missing."""
  if settings.rehearse and name not in _ON_CPU:
    raise Missing('there is no GPU in a rehearsal')
  w = settings.workload(workload)
  is_softmax = name.startswith('torch_')
  cost = (
      roofline.softmax_attention(w)
      if is_softmax
      else roofline.prefix_linear_attention(w)
  )
  forward = PEERS[name]()
  make = _softmax_inputs if is_softmax else _prefix_inputs
  device = 'cpu' if settings.rehearse else 'cuda'
  arguments = [x.requires_grad_(w.backward) for x in make(w, device)]
  dy = torch.randn_like(forward(*arguments)) if w.backward else None

  def call():
    y = forward(*arguments)
    if w.backward:
      torch.autograd.grad(y, arguments, dy)

  row = operations.about(workload, name, w, cost)
  return row | _time(call, device)


def _softmax_inputs(w, device):
  return [
      torch.randn(w.B, w.H, w.L, w.V, dtype=torch.bfloat16, device=device)
      for _ in range(3)
  ]


def _prefix_inputs(w: Workload, device):
  """q, k, v and k_enc, v_enc; all of them [B, L, H, D or V]."""
  sizes = (w.L, D), (w.L, D), (w.L, w.V), (w.P, D), (w.P, w.V)
  return [
      torch.randn(w.B, L, w.H, N, dtype=torch.bfloat16, device=device)
      for L, N in sizes
  ]


def _time(call, device):
  """Times each call between two events; waits once, at the end."""
  for _ in range(3):  # warms up, and compiles
    call()
  if device == 'cpu':
    seconds = []
    for _ in range(timing.SAMPLES):
      start = time.perf_counter()
      call()
      seconds.append(time.perf_counter() - start)
    return timing.summarize(1e3 * np.array(seconds))
  event = functools.partial(torch.cuda.Event, enable_timing=True)
  pairs = [(event(), event()) for _ in range(timing.SAMPLES)]
  for start, end in pairs:
    start.record()
    call()
    end.record()
  torch.cuda.synchronize()
  return timing.summarize(np.array([s.elapsed_time(e) for s, e in pairs]))


def _flash():
  def forward(q, k, v):
    with attention.sdpa_kernel(attention.SDPBackend.FLASH_ATTENTION):
      return functional.scaled_dot_product_attention(q, k, v, is_causal=True)

  return forward


def _official():
  """The formula with which JRT-RNN was trained: all pairs, then the prefix.

  Source: Arora et al. 2024, https://arxiv.org/abs/2407.05483, equation 3.
  """

  def forward(q, k, v, k_enc, v_enc):
    q, k, k_enc = (_all_products(x).transpose(1, 2) for x in (q, k, k_enc))
    v, v_enc = v.transpose(1, 2), v_enc.transpose(1, 2)
    weights = torch.tril(q @ k.mT)
    num = weights @ v + q @ (k_enc.mT @ v_enc)
    den = weights.sum(-1) + (q @ k_enc.sum(2)[..., None])[..., 0]
    return (num / den[..., None]).transpose(1, 2)

  return forward


def _fla_chunk(features):
  """Linear attention in chunks with the same features and states."""

  def make():
    from fla.ops.linear_attn import chunk_linear_attn

    def forward(q, k, v, k_enc, v_enc):
      q, k, k_enc = (features(x) for x in (q, k, k_enc))
      kv = torch.einsum('blhf,blhv->bhfv', k_enc, v_enc)
      z = k_enc.sum(1, keepdim=True)
      y, _ = chunk_linear_attn(
          *(q, k, v),
          scale=1.0,
          initial_state=(kv.float(), z),
          output_final_state=True,
          normalize=True,
      )
      return y

    return forward

  return make


def _all_products(x):
  """[..., 16] to the 273 features of 1 + s + s²/2, s = q·k / 4."""
  products = (x[..., :, None] * x[..., None, :]).flatten(-2)
  ones = torch.ones_like(x[..., :1])
  return torch.cat([ones, x / 2, products / math.sqrt(32)], -1)


def _each_product_once(x):
  """[..., 16] to 153 features of the same kernel, and 7 zeros."""
  i, j = torch.triu_indices(D, D, device=x.device)
  weights = torch.where(i == j, 1 / math.sqrt(32), 1 / 4).to(x.dtype)
  products = x[..., i] * x[..., j] * weights
  ones = torch.ones_like(x[..., :1])
  phi = torch.cat([ones, x / 2, products], -1)
  return functional.pad(phi, (0, roofline.F - phi.shape[-1]))


# Functions that import their packages, and return a function of tensors.
PEERS = {
    'torch_flash': _flash,
    'official_torch': _official,
    'fla_chunk_160': _fla_chunk(_each_product_once),
    'fla_chunk_273': _fla_chunk(_all_products),
}

_ON_CPU = 'torch_flash', 'official_torch'
