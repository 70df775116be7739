"""The config of a run as its config.json has it, with the keys of today.

What `configs/base.py` has gained since has a default that means what was before
it: so a run goes on, and its weights are read, by later versions.
"""

from collections.abc import Mapping
import hashlib
import json
import pathlib
from typing import Any

from flax import traverse_util

from configs import base
from configs import recorded as recorded_file
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


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns the config that `path` holds, completed; stderr tells by what.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is not the config of a run, has keys of another version, or a
      value that no model can have.
  """
  config, fitted = _apart(foreign.read_json(path, _SCHEMA))
  recorded, defaults = flat(config), _defaults()
  if unknown := sorted(recorded.keys() - defaults.keys()):
    raise ValueError(
        f'{path} is of another version, with keys that configs/base.py lacks:'
        f' {shown(", ".join(unknown))}'
    )
  later = later_keys(path, recorded, defaults)
  config = _together(recorded | later, fitted)
  check_model(f'{path}:', config)
  return config


def check_model(key: str, config: Mapping[str, Any]) -> None:
  """Checks what a model is built from, and reads prompts by.

  All else is for training, which checks it: earlier versions took more.

  Args:
    key: where the config is from, for the error.
    config: with all keys.

  Raises:
    ValueError: a value is out of its range.
  """
  for name in ('model', 'data', 'sequence_length'):
    base.RANGES[name].check(f'{key} {name}', config[name])
  fitting.check(f'{key} prefix', config['prefix'])


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config with the defaults of all keys that it lacks."""
  config, fitted = _apart(config)
  return _together(_defaults() | flat(config), fitted)


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what tells runs apart: `mixers`, `seed`, and `but_seed`.

  The latter is a digest, the same of runs that differ in their seeds alone.
  """
  same = {**flat(config), 'seed': 0, 'data.path': '', 'data.tokenizer': ''}
  digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode())
  return {
      'mixers': list(config['model']['mixers']),
      'seed': config['seed'],
      'but_seed': digest.hexdigest()[:16],
  }


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
  recorded_file.tell_later_keys(path, later)
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


def _apart(config):
  """A config of keys that have defaults, and `prefix.fitted`, or None."""
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
