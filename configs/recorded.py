r"""The config that an earlier run has recorded, for another run.

python -m jrt_jax.train --config=runs/first/config.json --workdir=runs/again

trains with the config of the run in runs/first; it is short for
--config=configs/recorded.py:runs/first/config.json. With --workdir=runs/first
it continues that run.

python -m jrt_jax.train --from=runs/first --workdir=runs/further

also starts from its weights; it is short for
--config=configs/recorded.py:runs/first. A compact run or builtin:NAME can take
the place of runs/first.
"""

from collections.abc import Collection, Iterable, Mapping
import json
import pathlib
import sys

from configs import base
from configs.keys import readers
from jrt_jax import builtin_models
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields

_KEYS = base.RANGES.keys
_PREFIX = {**_KEYS['prefix'].keys, 'fitted': Anything()}
_RECORDED = Fields(
    {'model': _KEYS['model']}, optional={**_KEYS, 'prefix': _PREFIX}
)


def get_config(path):
  """Returns the config at `path`: a config.json, or a workdir with one."""
  try:
    folder = builtin_models.find(path)
  except FileNotFoundError as error:  # ml_collections hides its message
    raise ValueError(str(error)) from error
  is_workdir = folder.is_dir()
  file = folder / 'config.json' if is_workdir else folder
  if not file.is_file():
    raise ValueError(
        f'{path} must be a workdir or its config.json, but there is no {file}'
    )
  recorded = _read(file)
  config = base.get_config()
  config.update(recorded)
  later = _later_keys(base.KEYS, recorded)
  tell_later_keys(file, later, config.model.mixers)
  is_compact = (file.parent / 'model.safetensors').is_file()
  if is_compact and config.data.tokenizer != 'bytes':
    config.data.tokenizer = str(file.parent / config.data.tokenizer)
  if is_workdir:
    config.init_from = path
    config.init_new = False
  return config


def tell_later_keys(
    path: pathlib.Path, keys: Iterable[str], mixers: Collection[str]
) -> None:
  """Prints on stderr which keys a recorded config lacks, if any.

  Args:
    path: of the config, for the message.
    keys: that it lacks; those that no layer reads are left out.
    mixers: of its layers.
  """
  if names := ', '.join(key for key in keys if readers.is_read(key, mixers)):
    print(
        f'{path} is of an earlier version and lacks {names}: the defaults of'
        ' configs/base.py are used',
        file=sys.stderr,
    )


def _read(file):
  try:
    recorded = json.loads(file.read_text())
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{file} must be JSON: {error}') from error
  _RECORDED.check(f'{file}:', recorded)
  recorded.get('prefix', {}).pop('fitted', None)  # fitted to that run's data
  return recorded


def _later_keys(keys, recorded, above=''):
  """Yields the dotted keys of `base.KEYS` that a recorded config lacks."""
  for name, inner in keys.items():
    if isinstance(inner, Mapping):
      there = recorded.get(name, {})
      yield from _later_keys(inner, there, f'{above}{name}.')
    elif name not in recorded:
      yield f'{above}{name}'
