"""The mixers of JRT models, each with its state.

A mixer maps x [B, L, E], its context and the state before x (None: there are no
earlier tokens) to [B, L, E] and the state after x, a tuple of tensors [B, ...].
"""

import torch
from torch import nn
import torch.nn.functional as F

from .linear_attention_jrt import LinearAttention
from .recurrence_jrt import convolved
from .recurrence_jrt import depthwise
from .recurrent_mixers_jrt import GatedDeltaNet
from .recurrent_mixers_jrt import Mamba2
from .recurrent_mixers_jrt import PrefixGatedDeltaNet
from .recurrent_mixers_jrt import PrefixMamba2

CHUNK = 128  # queries of a block of softmax attention


class BaseConv(nn.Module):
  """SiLU(causal depthwise convolution of u) ⊙ gate, between two projections.

  The state is u of the last K - 1 tokens. Source: Based,
  https://arxiv.org/abs/2402.18668.
  """

  def __init__(self, model):
    super().__init__()
    E, K = model['width'], model['conv_kernel']
    inner = model['conv_expand'] * E // 2
    self.in_proj = nn.Linear(E, 2 * inner)
    self.conv = depthwise(inner, K)
    self.out_proj = nn.Linear(inner, E)

  def forward(self, x, context, state):
    u, gate = self.in_proj(x).chunk(2, dim=-1)
    u, tail = convolved(self.conv, u, context.token, state and state[0])
    return self.out_proj(F.silu(u) * gate), (tail,)


class SoftmaxAttention(nn.Module):
  """Softmax attention to the last W keys, or to all keys so far.

  With a window, a query may also see the first S tokens of its row, the sinks.
  The state has the rotated keys, the values, and the positions in the text (-1:
  none) of the sinks and of the last W positions (or of all).
  """

  def __init__(self, model, window, sinks=0):
    super().__init__()
    E, self.num_heads = model['width'], model['num_heads']
    self.qkv = nn.Linear(E, 3 * E, bias=False)
    self.out_proj = nn.Linear(E, E, bias=False)
    self.window, self.sinks = window, sinks
    self.rope = model['rope_base'], model['rope_fraction']

  def forward(self, x, context, state):
    q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
    if state is None:
      none = k.new_zeros(len(k), self.sinks + (self.window or 0), *k.shape[2:])
      state = none, none, torch.full_like(none[..., 0, 0], -1, dtype=torch.long)
    q, k = (rotary(a, context.position, *self.rope) for a in (q, k))
    k, v = torch.cat([state[0], k], dim=1), torch.cat([state[1], v], dim=1)
    own = _places(context.token, state[2])
    place = torch.cat([state[2], own], dim=1)
    k, v, place = sinks_first(k, v, place, self.sinks)
    y = attend(q, k, v, own, place, self.window, self.sinks)
    return self.out_proj(y), tuple(map(self._kept, (k, v, place)))

  def _kept(self, x):
    """The part of [B, K, ...] that later positions may see."""
    if self.window is None:
      return x
    return torch.cat([x[:, : self.sinks], x[:, -self.window :]], dim=1)


def _places(token, earlier):
  """Int [B, L], the position of each token in its text, -1 at padding."""
  count = F.pad(earlier, (1, 0), value=-1).amax(1, keepdim=True) + 1
  return torch.where(token, count + token.cumsum(1) - 1, -1)


def sinks_first(k, v, place, S):
  """Keys, values and positions, with those of the S sinks first.

  Elsewhere the positions of sinks become -1, so that they are seen once.
  """
  if not S:
    return k, v, place
  sink = torch.arange(S, device=place.device)
  is_it = place[:, None] == sink[:, None]  # [B, S, K]
  at = is_it.int().argmax(2)
  rows = torch.arange(len(at), device=at.device)[:, None]
  first = torch.where(is_it.any(2), sink, -1)
  others = place[:, S:].masked_fill(place[:, S:] < S, -1)
  join = lambda x: torch.cat([x[rows, at], x[:, S:]], dim=1)
  return join(k), join(v), torch.cat([first, others], dim=1)


def attend(q, k, v, own, place, window, sinks=0):
  """Returns the outputs [B, L, E] of the last L of K positions.

  q is [B, L, H, D], k and v are [B, K, H, D]. `own` [B, L] is the position of
  each query and `place` [B, K] that of each key, -1 if there is no token. The
  first `sinks` keys are sinks.
  """
  q, k, v = (x.transpose(1, 2) for x in (q, k, v))
  L, K = q.shape[2], k.shape[2]
  parts = []
  for start in range(K - L, K, CHUNK):
    stop = min(start + CHUNK, K)
    first = max(sinks, start - window + 1) if window else 0
    keys = lambda x, dim: torch.cat(
        [x.narrow(dim, 0, sinks), x.narrow(dim, first, stop - first)], dim=dim
    )
    i = torch.arange(start, stop, device=q.device)[:, None]
    j = keys(torch.arange(K, device=q.device), 0)
    near = (j <= i) & ((i - j < (window or K)) | (j < sinks))
    at = keys(place, 1)[:, None]
    query = own[:, start - (K - L) : stop - (K - L), None]
    visible = near & (at >= 0) & (at <= query)
    visible |= (i == j) & (query < 0)  # padding sees itself, to avoid 0 / 0
    part = F.scaled_dot_product_attention(
        q[:, :, start - (K - L) : stop - (K - L)],
        keys(k, 2),
        keys(v, 2),
        attn_mask=visible[:, None],
    )
    parts.append(part)
  return torch.cat(parts, dim=2).transpose(1, 2).flatten(2)


def rotary(x, position, base, fraction):
  """Rotates pairs (i, i + N) of x [B, L, H, D] by angles of positions [B, L].

  The first R = ⌊fraction · D⌋ features make N = ⌈R / 2⌉ pairs, whose angles are
  position · base^(-2i / R). Source: https://arxiv.org/abs/2104.09864.
  """
  rotated = int(fraction * x.shape[-1])
  pairs = -(-rotated // 2)
  index = torch.arange(pairs, dtype=torch.float32, device=x.device)
  angle = position[..., None, None] * base ** (-2 * index / max(rotated, 1))
  cos, sin = angle.cos(), angle.sin()
  sizes = [pairs, pairs, x.shape[-1] - 2 * pairs]
  a, b, rest = x.float().split(sizes, dim=-1)
  turned = [a * cos - b * sin, b * cos + a * sin, rest]
  return torch.cat(turned, dim=-1).to(x.dtype)


MIXERS = {
    'conv': BaseConv,
    'pla': lambda model: LinearAttention(model, reads_prefix=True),
    'la': lambda model: LinearAttention(model, reads_prefix=False),
    'swa': lambda model: SoftmaxAttention(
        model, model['window'], model.get('sinks', 0)
    ),
    'attention': lambda model: SoftmaxAttention(model, None),
    'gdn': GatedDeltaNet,
    'mamba2': Mamba2,
    'prefix_gdn': PrefixGatedDeltaNet,
    'prefix_mamba2': PrefixMamba2,
}
