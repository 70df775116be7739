r"""What a run has recorded as its config, for another run.

python -m jrt_jax.train --config=runs/first/config.json --workdir=runs/again
python -m jrt_jax.train --from=runs/first --workdir=runs/further

stand for --config=configs/recorded.py:runs/first/config.json, and for
--config=configs/recorded.py:runs/first, which starts from its weights as well.
"""

import json
import pathlib

from configs import base


def get_config(path):
  """Returns the config of a config.json, or of the workdir that has one."""
  file, source = pathlib.Path(path), ''
  if file.is_dir():
    file, source = file / 'config.json', path
  if not file.is_file():
    raise ValueError(f'{path} must be a workdir or its config.json')
  try:
    recorded = json.loads(file.read_text())
  except ValueError as error:
    raise ValueError(f'{file} must be JSON: {error}') from error
  if not isinstance(recorded, dict) or 'model' not in recorded:
    raise ValueError(
        f"{file} must be the config of a run, with the key 'model'"
    )
  recorded.get('prefix', {}).pop('fitted', None)  # to the data of that run
  config = base.get_config()  # for the keys that an older one lacks
  try:
    config.update(recorded)
  except (AttributeError, KeyError, TypeError) as error:
    reason = str(error.args[0]).partition('. ')[0]
    raise ValueError(f'{file} is of another version: {reason}') from error
  config.init_from = source
  return config
