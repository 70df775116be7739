"""Reads the config.json of a run, which an earlier version may have written.

A key that was added to `configs/base.py` later has a default that means what
versions without the key did. So later versions can continue old runs and read
their weights.
"""

from collections.abc import Mapping
import hashlib
import json
import pathlib
from typing import Any

from configs import base
from configs import recorded as recorded_file
from configs.keys import readers
from jrt_jax import dotted
from jrt_jax import foreign
from jrt_jax.prefix import fitting
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import shown

_SCHEMA = Fields(
    {'model': foreign.OBJECT},
    optional={'prefix': foreign.OBJECT},
    others=Anything(),
)

Flat = dict[str, Any]  # a value as JSON has it, by dotted key

# Keys that were added when digests had been recorded, and their defaults.
_LATER = (
    ('data.mixture', []),
    ('data.documents_in_prefix', 0),
    ('init_new', False),
    ('model.pla.prefix_reader', 'sum'),
    ('model.pla.causal_in_prefix', True),
    ('model.pla.first_values', 'random'),
    ('objective.z_loss', 0.0),
    ('optimizer.name', 'adamw'),
    ('optimizer.momentum', 0.95),
    ('optimizer.update_rms', 0.2),
    ('mesh.sequence', 1),
    ('stall_seconds', -1),
)


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns the config in `path`, with the defaults of the keys that it lacks.

  Prints these keys on stderr.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is not the config of a run, has unknown keys, or a value that
      no model can have.
  """
  config, fitted = _apart(foreign.read_json(path, _SCHEMA))
  recorded, defaults = flat(config), _defaults()
  if unknown := sorted(recorded.keys() - defaults.keys()):
    raise ValueError(
        f'{path} is of another version and has keys that configs/base.py does'
        f' not have: {shown(", ".join(unknown))}'
    )
  later = later_keys(path, recorded, defaults)
  config = _together(recorded | later, fitted)
  check_model(f'{path}:', config)
  return config


def check_model(key: str, config: Mapping[str, Any]) -> None:
  """Checks the keys that are needed to build a model and to read prompts.

  The other keys matter to training only, which checks them itself; earlier
  versions allowed more values of them.

  Args:
    key: where the config is from, for the error message.
    config: a config that has all keys.

  Raises:
    ValueError: a value is out of its range.
  """
  for name in ('model', 'data', 'sequence_length'):
    base.RANGES[name].check(f'{key} {name}', config[name])
  fitting.check(f'{key} prefix', config['prefix'])


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the config with defaults for the keys that it lacks."""
  config, fitted = _apart(config)
  return _together(_defaults() | flat(config), fitted)


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what identifies a run: `mixers`, `seed`, and `but_seed`.

  `but_seed` is a digest of the config without its seed, the paths of data (not
  the weights of a mixture), and settings of mixers that it does not have.
  """
  mixers = config['model']['mixers']
  same = {**flat(config), 'seed': 0, 'data.path': '', 'data.tokenizer': ''}
  same['data.mixture'] = [x for _, x in same.get('data.mixture', ())]
  same = {
      key: x
      for key, x in same.items()
      if readers.is_read(key, mixers) and (key, x) not in _LATER
  }
  digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode())
  return {
      'mixers': list(mixers),
      'seed': config['seed'],
      'but_seed': digest.hexdigest()[:16],
  }


def flat(config: Mapping[str, Any]) -> Flat:
  """Returns the values of nested dicts by dotted key, as JSON has them."""
  return dotted.flat(json.loads(json.dumps(config)))


def nested(config: Flat) -> dict[str, Any]:
  """Returns the opposite of `flat`."""
  return dotted.nested(config)


def later_keys(path: pathlib.Path, recorded: Flat, new: Flat) -> Flat:
  """Returns the defaults of keys that only `new` has; prints them on stderr."""
  defaults = _defaults()
  later = {k: defaults[k] for k in new if k in defaults and k not in recorded}
  mixers = recorded.get('model.mixers', new['model.mixers'])
  recorded_file.tell_later_keys(path, later, mixers)
  return later


def same_words(config: Flat) -> Flat:
  """Returns the config in one spelling, if several mean the same.

  With the Taylor map of order 2, the normalizer 'auto' becomes 'sum', which
  runs recorded before 'auto' existed.
  """
  taylor = {
      'model.feature_map.name': 'taylor_exp',
      'model.feature_map.order': 2,
  }
  if any(config.get(key, value) != value for key, value in taylor.items()):
    return config
  if config.get('model.normalizer') != 'auto':
    return config
  return {**config, 'model.normalizer': 'sum'}


def model_changes(model: Mapping[str, Any]) -> Flat:
  """Returns the values of `config.model` that are not defaults, by sorted key.

  The result does not change when a later version adds a key.
  """
  defaults = same_words(_defaults())
  config = same_words(flat({'model': model}))
  return {
      key.removeprefix('model.'): config[key]
      for key in sorted(config)
      if key not in defaults or config[key] != defaults[key]
  }


def _apart(config):
  """Splits off `prefix.fitted`, which has no default; None if not there."""
  prefix = dict(config.get('prefix', {}))
  fitted = prefix.pop('fitted', None)
  return {**config, 'prefix': prefix}, fitted


def _together(config, fitted):
  config = nested(config)
  if fitted is not None:
    config['prefix']['fitted'] = fitted
  return config


def _defaults():
  return flat(base.get_config().to_dict())
