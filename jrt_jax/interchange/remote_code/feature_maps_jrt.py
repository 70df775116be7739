"""Feature maps of linear attention: φ(x) [B, H, L, F] of x [B, H, L, D].

Weights are the products φ(q)·φ(k); s is q·k / √D. Parameters and random
projections are those of each head.
"""

import collections
import itertools
import math

import torch
from torch import nn
import torch.nn.functional as F

LONGEST = 3.0  # vectors of gaussian_prf; others are shortened


class PowerSeries(nn.Module):
  """Σ_m terms[m] s^m: each monomial of x once."""

  def __init__(self, D, terms):
    super().__init__()
    self.factors, self.weights = [], []
    p = len(terms) - 1
    for monomial in itertools.combinations_with_replacement(range(D + 1), p):
      counts = collections.Counter(i for i in monomial if i)  # 0 is constant
      m = sum(counts.values())
      ways = math.factorial(m) / math.prod(map(math.factorial, counts.values()))
      if terms[m]:
        self.factors.append(monomial)
        self.weights.append(math.sqrt(terms[m] * ways * D ** (-m / 2)))

  def forward(self, x):
    x1 = F.pad(x, (1, 0), value=1.0)
    y = x.new_tensor(self.weights)
    for factor in torch.tensor(self.factors, device=x.device).unbind(1):
      y = y * x1[..., factor]
    return y


class Elementwise(nn.Module):
  """A function of each component."""

  def __init__(self, function):
    super().__init__()
    self.function = function

  def forward(self, x):
    return self.function(x)


class RandomFeatures(nn.Module):
  """Features of exp(-‖q - k‖² / (2 √D)) along the rows of `projection`."""

  def __init__(self, H, D, rows, function):
    super().__init__()
    self.projection = nn.Parameter(torch.randn(H, rows, D), requires_grad=False)
    self.function = function

  def forward(self, x):
    x = x * x.shape[-1] ** -0.25
    return self.function(x, x @ self.projection.float().transpose(1, 2))


def trigonometric(x, product):
  waves = torch.cat([product.cos(), product.sin()], dim=-1)
  return waves / math.sqrt(product.shape[-1])


def positive(x, product):
  square = x.square().sum(-1, keepdim=True)
  product = product * LONGEST / square.clamp(min=LONGEST**2).sqrt()
  square = square.clamp(max=LONGEST**2)
  return torch.exp(product - square) / math.sqrt(product.shape[-1])


class HeadLinear(nn.Module):
  """A linear layer for each head."""

  def __init__(self, H, inputs, outputs, bias=True):
    super().__init__()
    kernel = torch.randn(H, inputs, outputs) / math.sqrt(inputs)
    self.kernel = nn.Parameter(kernel)
    self.bias = nn.Parameter(torch.zeros(H, outputs)) if bias else None

  def forward(self, x):
    y = x @ self.kernel.float()
    return y if self.bias is None else y + self.bias.float()[:, None]


class Hedgehog(nn.Module):
  """[softmax(Wx), softmax(-Wx)]: https://arxiv.org/abs/2402.04347."""

  def __init__(self, H, D):
    super().__init__()
    self.linear = HeadLinear(H, D, D, bias=False)

  def forward(self, x):
    x = self.linear(x)
    return torch.cat([x.softmax(-1), (-x).softmax(-1)], dim=-1)


class Mlp(nn.Module):
  """softplus(W₂ g(W₁x + b₁) + b₂), g the approximation of GELU by tanh."""

  def __init__(self, H, D, features):
    super().__init__()
    self.fc1 = HeadLinear(H, D, 4 * D)
    self.fc2 = HeadLinear(H, 4 * D, features)

  def forward(self, x):
    x = F.gelu(self.fc1(x), approximate='tanh')
    return F.softplus(self.fc2(x))


class Mixture(nn.Module):
  """[√a₁ φ₁, √a₂ φ₂, …], a = softmax(logits)."""

  def __init__(self, H, parts):
    super().__init__()
    self.parts = nn.ModuleList(parts)
    self.logits = nn.Parameter(torch.zeros(H, len(parts)))

  def forward(self, x):
    scales = self.logits.float().softmax(-1).sqrt()
    parts = [
        scales[:, i, None, None] * part(x) for i, part in enumerate(self.parts)
    ]
    return torch.cat(parts, dim=-1)


def build_groups(settings, num_heads):
  """(name, map, heads) of each group of consecutive heads.

  Args:
    settings: `feature_map` of the config.
    num_heads: the number of heads of all groups.
  """
  s = {**DEFAULTS, **settings}
  names, heads = [s['name']], [num_heads]
  if s['name'] == 'hybrid_heads':
    names = s['parts']
    heads = s['heads'] or [num_heads // len(names)] * len(names)
  D = s['feature_dim']
  return [
      (name, FEATURE_MAPS[name](H, D, s), H) for name, H in zip(names, heads)
  ]


def default_normalizer(name, settings):
  """The default of a map: 'sum', or 'output_rms' if weights can add up to 0."""
  sign = _sign(name, {**DEFAULTS, **settings})
  return 'sum' if sign == 'positive' else 'output_rms'


def has_own_encoder(feature_map):
  """Whether the keys of a prefix can have their own map of this kind."""
  names = [name for name, _ in feature_map.named_parameters()]
  return bool(names) and not any(n.endswith('projection') for n in names)


def _sign(name, s):
  if name == 'mixture':
    signs = [_sign(part, s) for part in s['parts']]
    order = ['signed', 'positive', 'nonnegative']
    return next(sign for sign in order if sign in signs)
  if name in ('linear', 'gelu', 'gaussian_rff'):
    return 'signed'
  if name in ('polynomial', 'symmetric_power'):
    return 'signed' if s['degree'] % 2 else 'nonnegative'
  odd = name == 'taylor_exp' and s['order'] % 2
  return 'signed' if odd else 'positive'


def _polynomial(H, D, s):
  p, c = s['degree'], s['offset']
  terms = [math.comb(p, m) * c ** (p - m) for m in range(p + 1)]
  return PowerSeries(D, terms)


def _taylor_exp(H, D, s):
  return PowerSeries(D, [1 / math.factorial(m) for m in range(s['order'] + 1)])


def _elu_plus_one(x):
  return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


def _mixture(H, D, s):
  return Mixture(H, [FEATURE_MAPS[name](H, D, s) for name in s['parts']])


DEFAULTS = {
    'order': 2,
    'degree': 2,
    'offset': 1.0,
    'num_features': 152,
    'parts': ('taylor_exp', 'hedgehog'),
    'heads': (),
    'separate_encoder': False,
}

# Functions of H, D and the settings.
FEATURE_MAPS = {
    'linear': lambda H, D, s: PowerSeries(D, [0, 1]),
    'relu': lambda H, D, s: Elementwise(lambda x: x.relu() + 1e-6),
    'gelu': lambda H, D, s: Elementwise(F.gelu),
    'gelu_shifted': lambda H, D, s: Elementwise(lambda x: F.gelu(x) + 0.17),
    'elu_plus_one': lambda H, D, s: Elementwise(_elu_plus_one),
    'polynomial': _polynomial,
    'taylor_exp': _taylor_exp,
    'symmetric_power': lambda H, D, s: PowerSeries(D, [0] * s['degree'] + [1]),
    'gaussian_rff': lambda H, D, s: RandomFeatures(
        H, D, s['num_features'] // 2, trigonometric
    ),
    'gaussian_prf': lambda H, D, s: RandomFeatures(
        H, D, s['num_features'], positive
    ),
    'mlp': lambda H, D, s: Mlp(H, D, s['num_features']),
    'hedgehog': lambda H, D, s: Hedgehog(H, D),
    'mixture': _mixture,
}
