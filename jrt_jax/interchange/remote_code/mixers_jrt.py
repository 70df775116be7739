"""The mixers of JRT models, each with its state.

A mixer maps x [B, L, E], its context and the state before x (None: there are no
earlier tokens) to [B, L, E] and the state after x, a tuple of tensors [B, ...].
"""

import torch
from torch import nn
import torch.nn.functional as F

from .feature_maps_jrt import build_groups
from .feature_maps_jrt import default_normalizer
from .feature_maps_jrt import has_own_encoder
from .recurrence_jrt import convolved
from .recurrence_jrt import depthwise
from .recurrent_mixers_jrt import GatedDeltaNet
from .recurrent_mixers_jrt import Mamba2
from .recurrent_mixers_jrt import PrefixGatedDeltaNet
from .recurrent_mixers_jrt import PrefixMamba2

CHUNK = 128  # positions of a block of attention weights


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


class LinearAttention(nn.Module):
  """Linear attention whose state may first read a whole prefix.

  The prefix has its own keys and values. The state is the states of all groups
  of heads, in order. Source: JRT-RNN, https://arxiv.org/abs/2407.05483.
  """

  def __init__(self, model, reads_prefix):
    super().__init__()
    E, self.num_heads = model['width'], model['num_heads']
    D = model['feature_map']['feature_dim']
    names = {'q': D, 'k': D, 'v': E // self.num_heads}
    if reads_prefix:
      names |= {'k_enc': D, 'v_enc': E // self.num_heads}
    for name, width in names.items():
      linear = nn.Linear(E, self.num_heads * width, bias=False)
      self.add_module(f'proj_{name}', linear)
    self.out_proj = nn.Linear(E, E, bias=False)
    self.reads_prefix = reads_prefix
    self.groups = head_groups(model, reads_prefix)

  def forward(self, x, context, state):
    heads = {
        'q': self._heads(self.proj_q(x)),
        'k': self._heads(self.proj_k(x)),
        'v': self._heads(self.proj_v(x)),
    }
    if self.reads_prefix:
      P = context.prefix.shape[1]
      k_enc = self._heads(self.proj_k_enc(x[:, :P]))
      heads['k'] = _zeroed(heads['k'], context.unzeroed)
      heads['k_enc'] = _zeroed(k_enc, context.unzeroed)
      heads['v_enc'] = self._heads(self.proj_v_enc(x[:, :P]))
    outputs, after, start = [], (), 0
    for i, group in enumerate(self.groups):
      own = slice(start, start := start + group.num_heads)
      before = state and state[2 * i : 2 * i + 2]
      own_heads = {name: x[:, own] for name, x in heads.items()}
      y, own_after = group(context, before, **own_heads)
      outputs.append(y)
      after += own_after
    y = torch.cat(outputs, dim=1).transpose(1, 2).flatten(2)
    return self.out_proj(y.to(x.dtype)), after

  def _heads(self, x):
    """[B, L, H · D] to [B, H, L, D]."""
    return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def head_groups(model, reads_prefix):
  """The groups of heads of a layer."""
  settings, H = model['feature_map'], model['num_heads']
  separate = reads_prefix and settings.get('separate_encoder', False)
  result = nn.ModuleList()
  for (name, each, count), (_, encoder, _) in zip(
      build_groups(settings, H), build_groups(settings, H)
  ):
    normalizer = model['normalizer']
    if normalizer == 'auto':
      normalizer = default_normalizer(name, settings)
    if not (separate and has_own_encoder(each)):
      encoder = None
    V = model['width'] // H
    result.append(HeadGroup(each, encoder, normalizer, count, V))
  return result


class HeadGroup(nn.Module):
  """Heads that share a feature map φ and a normaliser.

  The state is the sum of φ(k) vᵀ and the sum of φ(k), in float32.
  """

  def __init__(self, feature_map, feature_map_enc, normalizer, num_heads, V):
    super().__init__()
    self.feature_map, self.feature_map_enc = feature_map, feature_map_enc
    self.num_heads, self.normalizer = num_heads, normalizer
    rms = normalizer == 'output_rms'
    self.gain = nn.Parameter(torch.ones(num_heads, V)) if rms else None

  def forward(self, context, state, q, k, v, k_enc=None, v_enc=None):
    """Returns outputs [B, H, L, V] and the state after heads [B, H, L, ·]."""
    if state is None:
      nothing = self.feature_map(k[:, :, :0].float()), v[:, :, :0].float()
      state = _read((0, 0), *nothing)
    if k_enc is not None:
      encode = self.feature_map_enc or self.feature_map
      for k_enc, v_enc, see in _chunks(k_enc, v_enc, context.prefix[:, None]):
        phi = encode(k_enc.float()) * see[..., None]
        state = _read(state, phi, v_enc.float())
    parts = []
    for q, k, v, see in _chunks(q, k, v, context.token[:, None]):
      phi = self.feature_map(k.float()) * see[..., None]
      parts.append(
          self._look(self.feature_map(q.float()), state, phi, v.float())
      )
      state = _read(state, phi, v.float())
    return torch.cat(parts, dim=2), state

  def _look(self, phi_q, state, phi_k, v):
    """Outputs [B, H, C, V] of a chunk that comes after `state`."""
    weights = (phi_q @ phi_k.transpose(2, 3)).tril()
    num = weights @ v + phi_q @ state[0]
    if self.gain is not None:
      square = num.square().mean(-1, keepdim=True)
      return num * torch.rsqrt(square + 1e-10) * self.gain.float()[:, None]
    den = weights.sum(-1) + (phi_q @ state[1][..., None])[..., 0]
    return num / NORMALIZERS[self.normalizer](den)[..., None]


def _read(state, phi, v):
  """The state after features [B, H, L, F] and values."""
  return state[0] + phi.transpose(2, 3) @ v, state[1] + phi.sum(2)


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


# Functions from the sum of the weights to the divisor of outputs.
NORMALIZERS = {
    'sum': lambda den: den.clamp(min=1e-12),
    'clamp': lambda den: torch.where(den < 0, -1, 1) * den.abs().clamp(min=1),
    'none': torch.ones_like,
}

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


def _chunks(*tensors):
  """Yields the tensors [B, H, L, ...] in parts of at most CHUNK positions."""
  return zip(*(x.split(CHUNK, dim=2) for x in tensors))


def _zeroed(k, keep):
  """Keys [B, H, L, D], 0 where `keep` [B, ≥ L] is False."""
  if keep is None:
    return k
  return k.masked_fill(~keep[:, None, : k.shape[2], None], 0)
