"""The mixers `gdn` and `mamba2`: matrices that decay, of constant size.

Their states are the last inputs of the convolutions, and then the matrix.
"""

import torch
from torch import nn
import torch.nn.functional as F

from .recurrence_jrt import convolved
from .recurrence_jrt import Decay
from .recurrence_jrt import depthwise
from .recurrence_jrt import gated_delta_rule


class GatedDeltaNet(nn.Module):
  """The gated delta rule between convolved projections and a gated norm.

  Source: https://arxiv.org/abs/2412.06464.
  """

  def __init__(self, model):
    super().__init__()
    E, own = model['width'], model['gdn']
    H, V, K = own['num_heads'], own['value_dim'], own['conv_kernel']
    keys, values = H * own['key_dim'], H * V
    widths = {'q': keys, 'k': keys, 'v': values}
    for name, width in widths.items():
      self.add_module(f'conv_{name}', depthwise(width, K))
    for name, width in {
        **widths,
        'gate': values,
        'beta': H,
        'decay': H,
    }.items():
      self.add_module(f'proj_{name}', nn.Linear(E, width, bias=False))
    self.decay = Decay(H)
    self.gain = nn.Parameter(torch.ones(V))
    self.out_proj = nn.Linear(values, E, bias=False)
    self.num_heads, self.eps = H, model['norm_eps']

  def forward(self, x, context, state):
    *tails, memory = state or [None] * 4
    parts = (
        (self.conv_q, self.proj_q),
        (self.conv_k, self.proj_k),
        (self.conv_v, self.proj_v),
    )
    heads, after = [], ()
    for (conv, proj), tail in zip(parts, tails):
      u, tail = convolved(conv, proj(x), context.token, tail)
      heads.append(self._heads(F.silu(u)))
      after += (tail,)
    q, k, v = heads
    log_decay, _ = self.decay(self.proj_decay(x), context.token)
    beta = self.proj_beta(x).float().sigmoid()
    beta = beta.masked_fill(~context.token[..., None], 0)
    q = _unit(q) * q.shape[-1] ** -0.5
    y, memory = gated_delta_rule(q, _unit(k), v, log_decay, beta, memory)
    y = _rms(y, self.eps) * self.gain.float()
    y = y * F.silu(self._heads(self.proj_gate(x)).float())
    return self.out_proj(y.flatten(2).to(x.dtype)), (*after, memory)

  def _heads(self, x):
    return x.unflatten(-1, (self.num_heads, -1))


class Mamba2(nn.Module):
  """A state-space model with one decay a head.

  B are keys, C queries and Δ·x values; the heads of a group share B and C.
  Source: https://arxiv.org/abs/2405.21060.
  """

  def __init__(self, model):
    super().__init__()
    E, own = model['width'], model['mamba2']
    H, self.num_groups = own['num_heads'], own['num_groups']
    inner = H * own['head_dim']
    shared = 2 * self.num_groups * own['state_dim']
    for name, width in {
        'gate': inner,
        'x': inner,
        'bc': shared,
        'dt': H,
    }.items():
      self.add_module(f'proj_{name}', nn.Linear(E, width, bias=False))
    self.conv_x = depthwise(inner, own['conv_kernel'], bias=True)
    self.conv_bc = depthwise(shared, own['conv_kernel'], bias=True)
    self.decay = Decay(H)
    self.skip = nn.Parameter(torch.ones(H))
    self.gain = nn.Parameter(torch.ones(inner))
    self.out_proj = nn.Linear(inner, E, bias=False)
    self.num_heads, self.eps = H, model['norm_eps']

  def forward(self, x, context, state):
    tail_x, tail_bc, memory = state or [None] * 3
    token = context.token
    u, tail_x = convolved(self.conv_x, self.proj_x(x), token, tail_x)
    bc, tail_bc = convolved(self.conv_bc, self.proj_bc(x), token, tail_bc)
    u = F.silu(u).unflatten(-1, (self.num_heads, -1))
    bc = F.silu(bc).unflatten(-1, (2, self.num_groups, -1))
    log_decay, step = self.decay(self.proj_dt(x), token)
    values = u * step.masked_fill(~token[..., None], 0)[..., None]
    b, c = bc.unbind(2)
    y, memory = gated_delta_rule(c, b, values, log_decay, None, memory)
    y = (y + self.skip.float()[:, None] * u).flatten(2)
    y = y * F.silu(self.proj_gate(x).float())
    y = _rms(y.unflatten(-1, (self.num_groups, -1)), self.eps).flatten(2)
    y = self.out_proj((y * self.gain.float()).to(x.dtype))
    return y, (tail_x, tail_bc, memory)


def _rms(x, eps):
  """x / √(mean(x²) + ε) over the last axis."""
  return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def _unit(x):
  """x / ‖x‖ over the last axis, in float32."""
  x = x.float()
  return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
