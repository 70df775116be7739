"""Copies results to where READMEs and the kernels find them."""

import pathlib
import re
import shutil
from typing import Any

from pallas_kernels import tiles
from pallas_kernels.benchmarks import tuning
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.prefix_linear_attention import mosaic_sm90_devices

RESULTS = pathlib.Path(__file__).parent / 'results'


def publish(settings: Settings) -> list[pathlib.Path]:
  """Copies results of a device, and writes the table of its tiles.

  Widths for which a kernel was wrong, or was not checked in all modes, are left
  out of the table.

  Returns:
    The files.

  Raises:
    ValueError: there are no results, or they are from a rehearsal.
  """
  folder = settings.folder
  results = folder.read()
  if not results.get('rows'):
    raise ValueError(f'--out must have results, {folder.path} has none')
  about = results['about']
  if about['rehearsal']:
    raise ValueError('--out must have results of a device, not of a rehearsal')
  name = re.sub(r'\W+', '_', about['device'].lower())
  target = RESULTS / name
  target.mkdir(parents=True, exist_ok=True)
  written = shutil.copy(folder.path / 'results.json', target)
  return [pathlib.Path(written), *_save_tiles(settings, about)]


def _save_tiles(settings: Settings, about: dict[str, Any]):
  entries = tuning.entries(settings)
  if not entries:
    return []
  operation = mosaic_sm90_devices.OPERATION
  measured = about | {'ceilings': settings.folder.ceilings()}
  return [tiles.save(operation, about['device'], entries, measured)]
