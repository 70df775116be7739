"""Feature maps, with which linear attention compares queries and keys.

`build` makes a map of `cost.feature_maps.MAPS`, and `build_groups` the maps of
all heads. `print(table())` lists all maps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import nnx

from configs.base import RANGES
from jrt_jax.cost import feature_maps as cost_of_maps
from jrt_jax.cost.feature_maps import group_sizes
from jrt_jax.cost.feature_maps import HYBRID as HYBRID
from jrt_jax.cost.feature_maps import MAPS
from jrt_jax.models.feature_maps.base import FeatureMap as FeatureMap
from jrt_jax.models.feature_maps.base import make
from jrt_jax.models.feature_maps.base import Settings


def build(
    name: str, *, head_dim: int, num_heads: int, rngs: nnx.Rngs, **settings: Any
) -> FeatureMap:
  """Returns a map with initial parameters.

  Args:
    name: a key of `MAPS`.
    head_dim: D, width of queries and keys.
    num_heads: H; each head has its own parameters.
    rngs: random keys for parameters and random projections.
    **settings: the other fields of `Settings`.

  Raises:
    ValueError: the name is unknown, or a setting is impossible.
  """
  _check({'name': name, 'feature_dim': head_dim, **settings})
  return make(name, Settings(head_dim, num_heads, rngs, **settings))


def build_groups(
    name: str,
    *,
    num_heads: int,
    heads: Sequence[int] = (),
    **settings: Any,
) -> list[FeatureMap]:
  """Returns the maps of consecutive groups of heads.

  Args:
    name: a key of `MAPS`, for all heads; or `HYBRID`, to use `parts`.
    num_heads: H, the number of heads of all groups together.
    heads: number of heads of each part; empty: equal numbers.
    **settings: see `build`; `parts` are names of maps.

  Raises:
    ValueError: a name is unknown, or a setting is impossible.
  """
  if name != HYBRID:
    return [build(name, num_heads=num_heads, **settings)]
  parts = settings.get('parts', Settings._field_defaults['parts'])
  _check({'parts': parts})
  counts = group_sizes(num_heads, parts, heads)
  return [
      build(part, num_heads=count, **settings)
      for part, count in zip(parts, counts)
  ]


def build_pairs(
    config: Mapping[str, Any],
    *,
    num_heads: int,
    reads_prefix: bool,
    rngs: nnx.Rngs,
) -> list[tuple[FeatureMap, FeatureMap | None]]:
  """Returns the map of each group of heads, and that of its prefix or None.

  Args:
    config: `config.model.feature_map`.
    num_heads: H, of all groups together.
    reads_prefix: whether there is a prefix.
    rngs: of parameters and random projections.
  """
  settings = dict(config, num_heads=num_heads, rngs=rngs)
  settings.pop('separate_encoder', None)
  settings['head_dim'] = settings.pop('feature_dim')
  groups = cost_of_maps.groups(config, num_heads, reads_prefix=reads_prefix)
  maps = build_groups(**settings)
  if not any(group.separate for group in groups):
    return [(each, None) for each in maps]
  return [
      (each, enc if group.separate else None)
      for each, enc, group in zip(maps, build_groups(**settings), groups)
  ]


def table(*, head_dim: int = 16, **settings: Any) -> str:
  """Returns a table of all maps; for `settings` see `build`."""
  rows = [('map', 'F', 'kernel', 'normalizer', 'computed by', 'parameters')]
  for name in MAPS:
    built = lambda: build(
        name, head_dim=head_dim, num_heads=1, rngs=nnx.Rngs(0), **settings
    )
    rows.append((name, *_facts(nnx.eval_shape(built))))
  widths = [max(map(len, column)) + 2 for column in zip(*rows)]
  return '\n'.join(
      ''.join(f'{x:{width}}' for x, width in zip(row, widths)).rstrip()
      for row in rows
  )


def _facts(feature_map):
  kinds = {'trained': feature_map.learned, 'drawn once': feature_map.draws}
  return (
      str(feature_map.width),
      feature_map.sign,
      feature_map.normalizer,
      'the operation' if feature_map.closed_form else 'the model',
      ', '.join(kind for kind, applies in kinds.items() if applies),
  )


def _check(settings):
  ranges = RANGES['model']['feature_map']
  for key, value in settings.items():
    ranges[key].check(f'config.model.feature_map.{key}', value)
