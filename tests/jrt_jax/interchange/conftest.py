"""Checkpoints of the official code, and models beside their exports."""

import functools
import importlib.util
import json
import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.data import tokenizers
from jrt_jax.interchange import hugging_face

GOLDEN = pathlib.Path(__file__).parents[2] / 'golden'


class Pair(NamedTuple):
  """One model twice."""

  ours: generation.Model
  theirs: Any  # of transformers
  folder: Any


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


@pytest.fixture(scope='session')
def needs_torch(tmp_path_factory):
  """Skips the test without PyTorch; else imports it, without a network."""
  for name in ('torch', 'transformers'):
    if not importlib.util.find_spec(name):
      pytest.skip(f'{name} is missing: `make test-hf` installs it')
  # Before the import: where code of models is copied to.
  os.environ['HF_HOME'] = str(tmp_path_factory.mktemp('hf_home'))
  os.environ['HF_HUB_OFFLINE'] = '1'
  import torch

  torch.set_num_threads(1)
  torch.set_grad_enabled(False)


@pytest.fixture(scope='session')
def load_pair(needs_torch):
  """A function from a model and its export to a `Pair`."""
  import transformers

  def load(ours, folder):
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, output_loading_info=True
    )
    assert not any(info.values())  # no tensor is missing or too many
    return Pair(ours, theirs, folder)

  return load


@pytest.fixture(scope='session')
def make_pair(tiny_config, load_pair, tmp_path_factory):
  """A function that makes a model of bytes, prefix 8, and exports it."""

  def make(mixers=tuple(MIXERS), prefix=(), **overrides):
    config = base.get_config().to_dict()
    config['sequence_length'] = 16
    config['prefix'].update(prefix)
    config['model'] = tiny_config(
        mixers=mixers, vocab_size=260, mask_id=259, **overrides
    )
    params = models.split(models.build(config['model']))[1]
    # Without this an untrained model with tied embeddings repeats its input.
    scale = jax.random.normal(jax.random.key(2), (16,))
    params |= {'final_norm.scale': scale}
    # At strengths of about 1, ridge regressions do not amplify rounding.
    params |= {
        name: jnp.linspace(0, 1, x.size)
        for name, x in params.items()
        if name.endswith('log_strength')
    }
    ours = generation.Model(config, params, tokenizers.Bytes())
    folder = tmp_path_factory.mktemp('export')
    hugging_face.write(ours, folder, tokenizer='bytes')
    return load_pair(ours, folder)

  return make


@pytest.fixture(scope='session')
def pair(make_pair):
  return make_pair()
