"""Small models in JAX, and what transformers makes of their export."""

import importlib.util
import os
from typing import Any, NamedTuple

import jax
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax import models
from jrt_jax.data import tokenizers
from jrt_jax.interchange import hugging_face


class Pair(NamedTuple):
  """One model twice."""

  ours: generation.Model
  theirs: Any  # of transformers
  folder: Any


@pytest.fixture(scope='session', autouse=True)
def _needs_torch(tmp_path_factory):
  for name in ('torch', 'transformers'):
    if not importlib.util.find_spec(name):
      pytest.skip(f'{name} is missing: `make test-hf` installs it')
  # Before the import: where code of models is copied to; no network.
  os.environ['HF_HOME'] = str(tmp_path_factory.mktemp('hf_home'))
  os.environ['HF_HUB_OFFLINE'] = '1'
  import torch

  torch.set_num_threads(1)
  torch.set_grad_enabled(False)


@pytest.fixture(scope='session')
def load_pair():
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

  def make(
      mixers=('conv', 'pla', 'swa', 'la', 'attention'), prefix=(), **overrides
  ):
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
    ours = generation.Model(config, params, tokenizers.Bytes())
    folder = tmp_path_factory.mktemp('export')
    hugging_face.write(ours, folder, tokenizer='bytes')
    return load_pair(ours, folder)

  return make


@pytest.fixture(scope='session')
def pair(make_pair):
  return make_pair()
