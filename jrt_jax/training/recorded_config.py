"""The config of a run as its config.json has it, with the keys of today.

What `configs/base.py` has gained since has a default that means what was before
it: so a run goes on, and its weights are read, by later versions.
"""

from collections.abc import Mapping
import json
import pathlib
import sys
from typing import Any

from flax import traverse_util

from configs import base

_FITTED = 'prefix.fitted.'  # what a run adds to its config

Flat = dict[str, Any]  # a value as JSON has it, by dotted key


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns the config that `path` holds, completed; stderr tells by what.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is not the config of a run, or has keys of another version.
  """
  try:
    config = json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f'{path} must be JSON: {error}') from error
  if not isinstance(config, dict) or 'model' not in config:
    raise ValueError(f"{path} must have the key 'model'")
  recorded, defaults = flat(config), _defaults()
  extra = {key for key in recorded if not key.startswith(_FITTED)}
  if unknown := sorted(extra - defaults.keys()):
    raise ValueError(
        f'{path} is of another version, with keys that configs/base.py lacks:'
        f' {", ".join(unknown)}'
    )
  return nested(recorded | later_keys(path, recorded, defaults))


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config with the defaults of all keys that it lacks."""
  return nested(_defaults() | flat(config))


def flat(config: Mapping[str, Any]) -> Flat:
  """Returns the values of nested dicts by dotted key, as JSON has them."""
  return traverse_util.flatten_dict(json.loads(json.dumps(config)), sep='.')


def nested(config: Flat) -> dict[str, Any]:
  """Returns the opposite of `flat`."""
  return traverse_util.unflatten_dict(config, sep='.')


def later_keys(path: pathlib.Path, recorded: Flat, new: Flat) -> Flat:
  """Returns the defaults of keys that only `new` has; says so on stderr."""
  defaults = _defaults()
  later = {k: defaults[k] for k in new if k in defaults and k not in recorded}
  if later:
    print(
        f'{path} is of an earlier version, without {", ".join(later)}: taken as'
        ' configs/base.py has them',
        file=sys.stderr,
    )
  return later


def same_words(config: Flat) -> Flat:
  """Returns a config in which what means the same is said in the same words.

  The normalizer of the Taylor map of order 2 is 'sum', as its runs recorded it
  until there was 'auto'.
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
  """Returns what a `config.model` changes in `configs/base.py`, by sorted key.

  That stays what it is when a version adds a key.
  """
  defaults = same_words(_defaults())
  config = same_words(flat({'model': model}))
  return {
      key.removeprefix('model.'): config[key]
      for key in sorted(config)
      if key not in defaults or config[key] != defaults[key]
  }


def _defaults():
  return flat(base.get_config().to_dict())
