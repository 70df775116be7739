"""Refuses settings that the choices of a config do not read.

For example, only two feature maps read `model.feature_map.degree`. Every config
has all keys, so that any can be set on a command line. A key that the chosen
feature map does not read would have no effect, so setting it is an error. The
entries of `MIXERS`, `MAPS`, `PREFIX_POLICIES`, `OBJECTIVES`, `OPTIMIZERS`,
`SOURCES` and `TASKS` list the keys that a choice reads as their `settings`.
"""

from collections.abc import Mapping
import json
import pkgutil
from typing import Any

from configs import base
from configs.keys import readers
from jrt_jax import dotted

# (the key of a choice, the part of the config whose keys depend on it, the
# table of the choices)
_CHOICES = (
    (
        'model.feature_map.name',
        'model.feature_map',
        'jrt_jax.cost.feature_maps:MAPS',
    ),
    ('prefix.name', 'prefix', 'jrt_jax.prefix.policies:PREFIX_POLICIES'),
    ('optimizer.name', 'optimizer', 'jrt_jax.cost.optimizers:OPTIMIZERS'),
    ('objective.name', 'objective', 'jrt_jax.data.objectives:OBJECTIVES'),
    ('data.source', 'data', 'jrt_jax.data.source_table:SOURCES'),
    ('data.source', 'data.synthetic', 'jrt_jax.data.synthetic.tasks:TASKS'),
)

# hybrid_heads is not a map of the table, since it combines several.
_OF_HYBRIDS = {'hybrid_heads': ('parts', 'heads')}


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError if a key is set that no choice of the config reads.

  This is for the config of a new run: earlier versions accepted such keys.
  """
  _check_mixers(config)
  for key, part, table in _CHOICES:
    name, settings = _at(config, key), _at(config, part)
    known = pkgutil.resolve_name(table)
    owners = {x: facts.settings for x, facts in known.items()}
    if part == 'model.feature_map':
      owners |= _OF_HYBRIDS
    chosen = [name]
    if 'parts' in owners.get(name, ()):  # each part is a map with settings
      chosen += settings['parts']
    read = {x for each in chosen for x in owners.get(each, ())}
    of_some = {x for own in owners.values() for x in own}
    for setting in sorted(of_some - read):
      if not _same(settings[setting], _at(base.KEYS, part)[setting][0]):
        some = [x for x, own in owners.items() if setting in own]
        raise ValueError(
            f'config.{part}.{setting} is a setting of {_listed(some)}, but'
            f' config.{key} is {" with ".join(map(repr, chosen))}'
        )


def _check_mixers(config):
  """Raises ValueError for settings of a mixer that no layer has."""
  defaults = dotted.flat(base.get_config().to_dict())
  mixers = config['model']['mixers']
  for key, default in defaults.items():
    if readers.is_read(key, mixers) or _same(_at(config, key), default):
      continue
    some = readers.of(key)
    raise ValueError(
        f'config.{key} is a setting of {_listed(some)} layers, but'
        ' config.model.mixers has none'
    )


def _at(config, key):
  for name in key.split('.'):
    config = config[name]
  return config


def _same(value, default):
  return json.dumps(value) == json.dumps(default)  # where tuples are lists


def _listed(names):
  *before, last = names
  return f'{", ".join(before)} and {last}' if before else last
