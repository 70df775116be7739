"""The mixers `gdn` and `mamba2`, and both with a prefix.

Their states are the last inputs of the convolutions, and then the matrix of the
recurrence, all of constant size.
"""

import torch
from torch import nn
import torch.nn.functional as F

from .recurrence_jrt import convolved
from .recurrence_jrt import Decay
from .recurrence_jrt import depthwise
from .recurrence_jrt import gated_delta_rule

# For each pass over the prefix, whether it goes from the last token to the
# first.
PASSES = {'forward': (False,), 'reversed': (True,), 'both': (False, True)}


class GatedDeltaNet(nn.Module):
  """The gated delta rule between convolved projections and a gated norm.

  Source: https://arxiv.org/abs/2412.06464.
  """

  def __init__(self, model):
    super().__init__()
    E, own = model['width'], model['gdn']
    H, V = own['num_heads'], own['value_dim']
    keys, values, kernel = H * own['key_dim'], H * V, own['conv_kernel']
    self.widths = {'k': keys, 'v': values, 'beta': H, 'decay': H}
    add_projections(self, E, self.widths | {'q': keys, 'gate': values})
    add_convolutions(self, {'q': keys, 'k': keys, 'v': values}, kernel)
    self.decay = Decay(H)
    self.gain = nn.Parameter(torch.ones(V))
    self.out_proj = nn.Linear(values, E, bias=False)
    self.num_heads, self.eps = H, model['norm_eps']

  def forward(self, x, context, state):
    *tails, memory = state or [None] * 4
    token = context.token
    q, tail = convolved(self.conv_q, self.proj_q(x), token, tails[0])
    q = _unit(self._heads(F.silu(q)))
    writes, after = self._writes(x, token, token, tails[1:])
    memory = self._start(x, context, memory)
    y, memory = gated_delta_rule(q * q.shape[-1] ** -0.5, *writes, memory)
    y = _rms(y, self.eps) * self.gain.float()
    y = y * F.silu(self._heads(self.proj_gate(x)).float())
    return self.out_proj(y.flatten(2).to(x.dtype)), (tail, *after, memory)

  def _start(self, x, context, memory):
    """The memory before the first token."""
    return memory

  def _writes(self, x, token, written, tails, of=''):
    """Keys, values, log a and beta, and the tails of the convolutions.

    `token` and `written` are bool [B, L]: where there is a token, and where the
    memory may change. `of` names the weights: '_enc' for those of the prefix.
    """
    part = lambda name: getattr(self, name + of)
    k, tail_k = convolved(part('conv_k'), part('proj_k')(x), token, tails[0])
    v, tail_v = convolved(part('conv_v'), part('proj_v')(x), token, tails[1])
    log_decay, _ = part('decay')(part('proj_decay')(x), written)
    beta = part('proj_beta')(x).float().sigmoid()
    beta = beta.masked_fill(~written[..., None], 0)
    k, v = self._heads(F.silu(k)), self._heads(F.silu(v))
    return (_unit(k), v, log_decay, beta), (tail_k, tail_v)

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
    inner, keys = H * own['head_dim'], self.num_groups * own['state_dim']
    self.widths = {'x': inner, 'b': keys, 'dt': H}
    widths = {'gate': inner, 'x': inner, 'bc': 2 * keys, 'dt': H}
    add_projections(self, E, widths)
    widths = {'x': inner, 'bc': 2 * keys}
    add_convolutions(self, widths, own['conv_kernel'], bias=True)
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
    b, c = F.silu(bc).unflatten(-1, (2, self.num_groups, -1)).unbind(2)
    log_decay, step = self.decay(self.proj_dt(x), token)
    memory = self._start(x, context, memory)
    values = u * step[..., None]
    y, memory = gated_delta_rule(c, b, values, log_decay, None, memory)
    y = (y + self.skip.float()[:, None] * u).flatten(2)
    y = y * F.silu(self.proj_gate(x).float())
    y = _rms(y.unflatten(-1, (self.num_groups, -1)), self.eps).flatten(2)
    y = self.out_proj((y * self.gain.float()).to(x.dtype))
    return y, (tail_x, tail_bc, memory)

  def _start(self, x, context, memory):
    """The memory before the first token."""
    return memory


class PrefixGatedDeltaNet(GatedDeltaNet):
  """`GatedDeltaNet` that has read the whole prefix before the first token."""

  def __init__(self, model):
    super().__init__(model)
    E, own = model['width'], model['gdn']
    add_projections(self, E, self.widths, '_enc')
    widths = {name: self.widths[name] for name in 'kv'}
    add_convolutions(self, widths, own['conv_kernel'], '_enc')
    self.decay_enc = Decay(self.num_heads)
    self.passes = PASSES[own['prefix_passes']]

  def _start(self, x, context, memory):
    if not (P := context.prefix.shape[1]):
      return memory
    token = context.token[:, :P]
    none = [None] * 2
    writes, _ = self._writes(x[:, :P], token, context.prefix, none, '_enc')
    return after_prefix(writes, memory, self.passes)


class PrefixMamba2(Mamba2):
  """`Mamba2` that has read the whole prefix before the first token."""

  def __init__(self, model):
    super().__init__(model)
    add_projections(self, model['width'], self.widths, '_enc')
    widths = {name: self.widths[name] for name in 'xb'}
    kernel = model['mamba2']['conv_kernel']
    add_convolutions(self, widths, kernel, '_enc', bias=True)
    self.decay_enc = Decay(self.num_heads)

  def _start(self, x, context, memory):
    if not (P := context.prefix.shape[1]):
      return memory
    x, token = x[:, :P], context.token[:, :P]
    u, _ = convolved(self.conv_x_enc, self.proj_x_enc(x), token, None)
    b, _ = convolved(self.conv_b_enc, self.proj_b_enc(x), token, None)
    u = F.silu(u).unflatten(-1, (self.num_heads, -1))
    b = F.silu(b).unflatten(-1, (self.num_groups, -1))
    log_decay, step = self.decay_enc(self.proj_dt_enc(x), context.prefix)
    writes = b, u * step[..., None], log_decay, None
    return after_prefix(writes, memory, PASSES['forward'])


def after_prefix(writes, memory, passes):
  """The memory after passes over keys, values, log a and beta [B, P, ...]."""
  for is_reversed in passes:
    k, *others = (
        x.flip(1) if is_reversed and x is not None else x for x in writes
    )
    _, memory = gated_delta_rule(k, k, *others, memory)
  return memory


def add_projections(module, width, widths, of=''):
  """Adds a layer `proj_NAME` for each name and the width of its outputs."""
  for name, outputs in widths.items():
    linear = nn.Linear(width, outputs, bias=False)
    module.add_module(f'proj_{name}{of}', linear)


def add_convolutions(module, widths, kernel, of='', bias=False):
  """Adds a layer `conv_NAME` for each name and its number of channels."""
  for name, channels in widths.items():
    conv = depthwise(channels, kernel, bias)
    module.add_module(f'conv_{name}{of}', conv)


def _rms(x, eps):
  """x / √(mean(x²) + ε) over the last axis."""
  return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def _unit(x):
  """x / ‖x‖ over the last axis, in float32."""
  x = x.float()
  return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
