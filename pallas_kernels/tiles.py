"""Tables of the fastest measured tiles, one for each kind of device.

A table is a JSON file in `tile_tables/<operation>/`. A benchmark writes it
after it has found the kernels correct on that device, so that the kernels are
known to work on a device with a table. A similar device uses its tiles, too:
any GPU of compute capability 9.0 uses those of the H200, although it is not
known whether the kernels work there. Nothing is tuned at run time.
"""

from collections.abc import Mapping
import functools
import json
import os
import pathlib
import re
from typing import Any, NamedTuple

import jax

_FOLDER = pathlib.Path(__file__).parent / 'tile_tables'

# The device whose table is used if a device has none, by compute capability.
_RELATIVES = {'9.0': 'NVIDIA H200'}


class Table(NamedTuple):
  """The content of a file."""

  device_kind: str  # `jax.Device.device_kind`
  measured: Mapping[str, Any]  # the measurement: date, versions, command
  entries: Mapping[str, Mapping[str, Any]]  # tiles, by kind of shape


def save(
    operation: str,
    device_kind: str,
    entries: Mapping[str, Mapping[str, Any]],
    measured: Mapping[str, Any],
) -> pathlib.Path:
  """Writes the table of a device, and returns its file."""
  path = _path(operation, device_kind)
  path.parent.mkdir(parents=True, exist_ok=True)
  table = Table(device_kind, dict(measured), dict(entries))
  new = path.with_suffix('.new')
  new.write_text(json.dumps(table._asdict(), indent=2) + '\n')
  os.replace(new, path)
  _read.cache_clear()
  return path


def load(operation: str, device_kind: str) -> Table | None:
  """Returns the table of exactly this kind of device, or None.

  A file is read once: a table that another process saves later is not seen.
  """
  return _read(_path(operation, device_kind))


def for_device(operation: str, device: jax.Device) -> Table | None:
  """Returns the table of a device or of a similar one, or None."""
  capability = getattr(device, 'compute_capability', None)
  for kind in (device.device_kind, _RELATIVES.get(capability)):
    if kind and (table := load(operation, kind)):
      return table
  return None


@functools.cache
def _read(path):
  if not path.exists():
    return None
  return Table(**json.loads(path.read_text()))


def _path(operation, device_kind):
  name = re.sub(r'\W+', '_', device_kind.lower())
  return _FOLDER / operation / f'{name}.json'
