"""Models that come with the package are small, and are models."""

import jax
import numpy as np
import pytest

from jrt_jax import builtin_models
from jrt_jax import generation

NAMES = builtin_models.names()
# Of the kind that they were trained on, and of no document there.
TEXT = 'The purpose of this submission is to expand the indications for use.'


def test_there_is_one():
  assert NAMES


@pytest.mark.parametrize('name', NAMES)
def test_all_of_a_model_takes_less_than_8_mb_and_tells_no_path(name):
  files = [*(builtin_models.FOLDER / name).iterdir()]
  assert {'config.json', 'model.safetensors', 'README.md'} < {
      file.name for file in files
  }
  assert sum(file.stat().st_size for file in files) < 8e6
  config = (builtin_models.FOLDER / name / 'config.json').read_text()
  assert '"/' not in config and '"path": ""' in config


@pytest.mark.parametrize('name', NAMES)
def test_a_model_has_learned_such_text(name):
  model = generation.load(f'builtin:{name}')
  assert model.step == model.config['steps'] > 0
  ids = model.encode(TEXT)
  language_model = model.merge(model.params)
  logits = language_model.logits(language_model.hidden(ids[None, :-1]))[0]
  loss = -jax.nn.log_softmax(logits)[np.arange(len(ids) - 1), ids[1:]]
  bits = float(loss.sum()) / np.log(2) / len(TEXT)
  assert (
      bits < 2.0
  )  # of byte by byte: a model that knows nothing has 12 a token
