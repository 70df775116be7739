"""Linear attention, causal or after a prefix: the mixers `la` and `pla`."""

import torch
from torch import nn

from .feature_maps_jrt import build_groups
from .feature_maps_jrt import default_normalizer
from .feature_maps_jrt import has_own_encoder
from .prefix_readers_jrt import READERS

CHUNK = 128  # positions of a block of attention weights


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
  own = model['pla']
  reader = own['prefix_reader'] if reads_prefix else 'sum'
  separate = reads_prefix and settings.get('separate_encoder', False)
  result = nn.ModuleList()
  for (name, each, count), (_, encoder, _) in zip(
      build_groups(settings, H), build_groups(settings, H)
  ):
    normalizer = model['normalizer']
    if normalizer == 'auto':
      normalizer = default_normalizer(name, settings)
      normalizer = 'output_rms' if reader in READERS else normalizer
    if not (separate and has_own_encoder(each)):
      encoder = None
    V = model['width'] // H
    group = HeadGroup(
        each,
        encoder,
        normalizer=normalizer,
        num_heads=count,
        value_dim=V,
        prefix_reader=reader,
        causal_in_prefix=own['causal_in_prefix'],
    )
    result.append(group)
  return result


class HeadGroup(nn.Module):
  """Heads that share a feature map φ and a normaliser.

  The state is the sum of φ(k) vᵀ and the sum of φ(k), in float32. It starts
  from what `prefix_reader` makes of a prefix. Without `causal_in_prefix`
  only tokens after the prefix are added to it.
  """

  def __init__(
      self,
      feature_map,
      feature_map_enc,
      *,
      normalizer,
      num_heads,
      value_dim,
      prefix_reader,
      causal_in_prefix,
  ):
    super().__init__()
    self.feature_map, self.feature_map_enc = feature_map, feature_map_enc
    self.num_heads, self.normalizer = num_heads, normalizer
    rms = normalizer == 'output_rms'
    self.gain = nn.Parameter(torch.ones(num_heads, value_dim)) if rms else None
    make = None if prefix_reader == 'sum' else READERS[prefix_reader]
    self.reader = make and make(num_heads)
    self.causal_in_prefix = causal_in_prefix

  def forward(self, context, state, q, k, v, k_enc=None, v_enc=None):
    """Returns outputs [B, H, L, V] and the state after heads [B, H, L, ·]."""
    if state is None:
      nothing = self.feature_map(k[:, :, :0].float()), v[:, :, :0].float()
      state = _read((0, 0), *nothing)
    written = context.token
    if k_enc is not None:
      state = self._with_prefix(state, k_enc, v_enc, context.prefix)
      written = written if self.causal_in_prefix else context.after_prefix()
    parts = []
    for q, k, v, see in _chunks(q, k, v, written[:, None]):
      phi = self.feature_map(k.float()) * see[..., None]
      parts.append(
          self._look(self.feature_map(q.float()), state, phi, v.float())
      )
      state = _read(state, phi, v.float())
    return torch.cat(parts, dim=2), state

  def _with_prefix(self, state, k, v, prefix):
    """The state after keys and values [B, H, P, ·] where bool [B, P] is True."""
    if self.reader is not None and not k.shape[2]:
      return state  # so that later tokens have no system to solve
    encode = self.feature_map_enc or self.feature_map
    read = _read if self.reader is None else self.reader.read
    sums = 0, 0
    for k, v, see in _chunks(k, v, prefix[:, None]):
      phi = encode(k.float()) * see[..., None]
      sums = read(sums, phi, v.float())
    if self.reader is not None:
      sums = self.reader(*sums), 0
    return state[0] + sums[0], state[1] + sums[1]

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


# Functions from the sum of the weights to the divisor of outputs.
NORMALIZERS = {
    'sum': lambda den: den.clamp(min=1e-12),
    'clamp': lambda den: torch.where(den < 0, -1, 1) * den.abs().clamp(min=1),
    'none': torch.ones_like,
}


def _chunks(*tensors):
  """Yields the tensors [B, H, L, ...] in parts of at most CHUNK positions."""
  return zip(*(x.split(CHUNK, dim=2) for x in tensors))


def _zeroed(k, keep):
  """Keys [B, H, L, D], 0 where `keep` [B, ≥ L] is False."""
  if keep is None:
    return k
  return k.masked_fill(~keep[:, None, : k.shape[2], None], 0)
