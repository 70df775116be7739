"""The feature maps that a config can name, and their facts, without jax.

`MAPS` has a line for each map. `Kind.module` names the code that computes it.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any, NamedTuple

from configs import base
from jrt_jax.cost import weight
from jrt_jax.cost.weight import Weight

HYBRID = 'hybrid_heads'  # groups of heads with different maps

_DEFAULTS = {k: x for k, (x, _) in base.KEYS['model']['feature_map'].items()}
_EXPANSION = 4  # hidden units of `mlp` over D


class Map(NamedTuple):
  """A feature map of H heads."""

  width: int  # F
  sign: str  # sign of the kernel: 'positive', 'nonnegative' or 'signed'
  # Parameters by name. The first axis is the head, and each parameter is used
  # once for each mapped vector.
  weights: Mapping[str, Weight] = {}
  draws: bool = False  # whether it has random projections


class Kind(NamedTuple):
  """The facts of a feature map that a config can name.

  Attributes:
    module: 'package.module:function'; the function makes a
      `models.feature_maps.FeatureMap` from its `Settings`.
    describe: maps `config.model.feature_map` and H to a `Map`.
    settings: the keys of `config.model.feature_map` that it reads, apart from
      those that all maps read.
  """

  module: str
  describe: Callable[[Mapping[str, Any], int], Map]
  settings: tuple[str, ...] = ()


class Group(NamedTuple):
  """Heads that share a map."""

  num_heads: int
  map: Map
  separate: bool  # whether keys of the prefix have a separate map


def groups(
    config: Mapping[str, Any], num_heads: int, *, reads_prefix: bool
) -> list[Group]:
  """Returns the groups of heads of a mixer.

  Args:
    config: `config.model.feature_map`.
    num_heads: H, the number of heads of all groups together.
    reads_prefix: whether there is a prefix.

  Raises:
    ValueError: the heads cannot be divided like this, or a separate map for
      keys of the prefix is requested but has no trained parameters.
  """
  settings = _DEFAULTS | dict(config)
  names, counts = [settings['name']], [num_heads]
  if names == [HYBRID]:
    names = settings['parts']
    counts = group_sizes(num_heads, names, settings['heads'])
  maps = [MAPS[x].describe(settings, H) for x, H in zip(names, counts)]
  separate = [False] * len(maps)
  if reads_prefix and settings['separate_encoder']:
    # Keys need the same random projections as queries.
    separate = [bool(each.weights) and not each.draws for each in maps]
    if not any(separate):
      raise ValueError(
          'config.model.feature_map.separate_encoder must be False for'
          f' {settings["name"]!r}, which has no trained parameters of its own,'
          ' got True'
      )
  return [Group(*group) for group in zip(counts, maps, separate)]


def group_sizes(
    num_heads: int, parts: Sequence[str], heads: Sequence[int]
) -> list[int]:
  """Returns the number of heads of each of `parts`.

  Args:
    num_heads: H, the number of heads of all groups together.
    parts: names of maps.
    heads: number of heads of each part; empty: equal numbers.

  Raises:
    ValueError: the numbers do not add up to H.
  """
  counts = [*heads] or [num_heads // len(parts)] * len(parts)
  whole = all(isinstance(count, int) and count > 0 for count in counts)
  if not whole or len(counts) != len(parts) or sum(counts) != num_heads:
    raise ValueError(
        f'config.model.feature_map.heads must divide {num_heads} heads among'
        f' {len(parts)} parts, got {tuple(heads) or "none"}'
    )
  return counts


def resolve_normalizer(
    normalizer: str, sign: str, prefix_reader: str = 'sum'
) -> str:
  """Returns the normalizer, after choosing one for 'auto'.

  Args:
    normalizer: `config.model.normalizer`.
    sign: the sign of the kernel, see `Map`.
    prefix_reader: `config.model.pla.prefix_reader`.

  Raises:
    ValueError: the normalizer is not safe with the kernel, or divides by a sum
      of weights although what queries read has none.
  """
  if normalizer == 'auto':
    # If all weights can be 0, dividing by their sum amplifies rounding errors.
    has_sum = sign == 'positive' and prefix_reader == 'sum'
    return 'sum' if has_sum else 'output_rms'
  if prefix_reader != 'sum' and normalizer not in ('output_rms', 'none'):
    raise ValueError(
        'config.model.normalizer must be output_rms or none (or auto) where'
        f' config.model.pla.prefix_reader is {prefix_reader!r}, whose weights'
        f' have no sum, got {normalizer!r}'
    )
  if normalizer == 'sum' and sign != 'positive':
    raise ValueError(
        'config.model.normalizer must be output_rms, clamp or none (or auto)'
        ' for a feature map whose weights can be 0 or negative, since their sum'
        " can be 0, got 'sum'"
    )
  return normalizer


def num_waves(num_features: int) -> int:
  """Returns how many rows gaussian_rff draws; ValueError if F is odd."""
  if num_features % 2:
    raise ValueError(
        'config.model.feature_map.num_features must be even for'
        f' gaussian_rff, got {num_features}'
    )
  return num_features // 2


def _elementwise(sign):
  return lambda settings, H: Map(settings['feature_dim'], sign)


def _taylor_exp(settings, H):
  del H
  D, p = settings['feature_dim'], settings['order']
  return Map(math.comb(D + p, p), 'signed' if p % 2 else 'positive')


def _polynomial(settings, H):
  if not settings['offset']:  # then only s^degree is left
    return _symmetric_power(settings, H)
  D, p = settings['feature_dim'], settings['degree']
  return Map(math.comb(D + p, p), 'signed' if p % 2 else 'nonnegative')


def _symmetric_power(settings, H):
  del H
  D, p = settings['feature_dim'], settings['degree']
  return Map(math.comb(D + p - 1, p), 'signed' if p % 2 else 'nonnegative')


def _gaussian_rff(settings, H):
  D, F = settings['feature_dim'], settings['num_features']
  return Map(F, 'signed', _drawn((H, num_waves(F), D)), draws=True)


def _gaussian_prf(settings, H):
  D, F = settings['feature_dim'], settings['num_features']
  return Map(F, 'positive', _drawn((H, F, D)), draws=True)


def _drawn(shape):
  # It has no gradients, and must not decay either.
  return {'projection': Weight(shape, decays=False, uses=1.0)}


def _mlp(settings, H):
  D, F = settings['feature_dim'], settings['num_features']
  hidden = _EXPANSION * D
  weights = {
      'fc1.kernel': weight.kernel((H, D, hidden)),
      'fc1.bias': weight.bias((H, hidden)),
      'fc2.kernel': weight.kernel((H, hidden, F)),
      'fc2.bias': weight.bias((H, F)),
  }
  return Map(F, 'positive', weights)


def _hedgehog(settings, H):
  D = settings['feature_dim']
  return Map(2 * D, 'positive', {'linear.kernel': weight.kernel((H, D, D))})


def _mixture(settings, H):
  parts = [MAPS[name].describe(settings, H) for name in settings['parts']]
  signs = {part.sign for part in parts}
  weights = {'logits': Weight((H, len(parts)))}
  for i, part in enumerate(parts):
    weights |= {f'parts.{i}.{name}': x for name, x in part.weights.items()}
  return Map(
      sum(part.width for part in parts),
      next(x for x in ('signed', 'positive', 'nonnegative') if x in signs),
      weights,
      draws=any(part.draws for part in parts),
  )


_CLOSED = 'jrt_jax.models.feature_maps.closed_form'
_ELEMENTWISE = 'jrt_jax.models.feature_maps.elementwise'
_RANDOM = 'jrt_jax.models.feature_maps.random_features'
_LEARNED = 'jrt_jax.models.feature_maps.learned'
_COMPOSITE = 'jrt_jax.models.feature_maps.composite'

MAPS = {
    'linear': Kind(f'{_CLOSED}:linear', _elementwise('signed')),
    'relu': Kind(f'{_ELEMENTWISE}:relu', _elementwise('positive')),
    'gelu': Kind(f'{_ELEMENTWISE}:gelu', _elementwise('signed')),
    'gelu_shifted': Kind(
        f'{_ELEMENTWISE}:gelu_shifted', _elementwise('positive')
    ),
    'elu_plus_one': Kind(
        f'{_ELEMENTWISE}:elu_plus_one', _elementwise('positive')
    ),
    'polynomial': Kind(
        f'{_CLOSED}:polynomial', _polynomial, ('degree', 'offset')
    ),
    'taylor_exp': Kind(f'{_CLOSED}:taylor_exp', _taylor_exp, ('order',)),
    'symmetric_power': Kind(
        f'{_CLOSED}:symmetric_power', _symmetric_power, ('degree',)
    ),
    'gaussian_rff': Kind(
        f'{_RANDOM}:GaussianRff', _gaussian_rff, ('num_features',)
    ),
    'gaussian_prf': Kind(
        f'{_RANDOM}:GaussianPrf', _gaussian_prf, ('num_features',)
    ),
    'mlp': Kind(f'{_LEARNED}:Mlp', _mlp, ('num_features',)),
    'hedgehog': Kind(f'{_LEARNED}:Hedgehog', _hedgehog),
    'mixture': Kind(f'{_COMPOSITE}:mixture', _mixture, ('parts',)),
}
