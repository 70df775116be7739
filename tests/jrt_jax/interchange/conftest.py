"""Checkpoints of the official code, small and with known logits."""

import functools
import json
import pathlib

import numpy as np
import pytest

from jrt_jax.interchange import weights

GOLDEN = pathlib.Path(__file__).parents[2] / 'golden'


@pytest.fixture(scope='session')
def golden_file():
  """A function that returns the .npz of `jrt` or `based`.

  It has the weights of a model, by official names after `param.`, its
  config.json, and logits; see tests/golden_test.py.
  """
  return lambda name: GOLDEN / f'{name}_tiny.npz'


@pytest.fixture(scope='session')
def state_dict(golden_file):
  """A function that returns the weights of a golden model by name."""

  @functools.cache
  def load(name):
    with np.load(golden_file(name)) as arrays:
      return {
          key.removeprefix('param.'): arrays[key]
          for key in arrays
          if key.startswith('param.')
      }

  return load


@pytest.fixture(scope='session')
def official_config(golden_file):
  """A function that returns config.json of a golden model, with changes.

  A change of a mixer says only what differs.
  """

  @functools.cache
  def read(name):
    with np.load(golden_file(name)) as arrays:
      return str(arrays['config_json'])

  def load(name, **changes):
    official = json.loads(read(name))
    for key, value in changes.items():
      is_mixer = isinstance(value, dict)
      official[key] = {**official[key], **value} if is_mixer else value
    return official

  return load


@pytest.fixture
def write_official(official_config, state_dict, tmp_path):
  """A function that writes a checkpoint, with changes; returns its folder."""

  def write(name='jrt', arrays=None, **changes):
    folder = tmp_path / 'official'
    folder.mkdir(exist_ok=True)
    text = json.dumps(official_config(name, **changes))
    (folder / 'config.json').write_text(text)
    weights.write_safetensors(
        folder / 'model.safetensors', arrays or state_dict(name)
    )
    return folder

  return write
