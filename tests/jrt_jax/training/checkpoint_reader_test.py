"""What a run has saved is read without a run."""

import json
import shutil
import types

from absl import logging
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.training import checkpoint
from jrt_jax.training import checkpoint_reader

META = {'data': {'next_index': 7, 'epoch': None}, 'config': ['a', 0.1]}


def make_params(step, width=16):
  key = jax.random.key(step)
  return {
      'embedding.embedding': jax.random.normal(key, (8, width)),
      'final_norm.scale': jnp.full(width, 1 / 3),
  }


@pytest.fixture(scope='module')
def two_saves(tmp_path_factory):
  """A workdir with checkpoints 10 and 20; tests work on copies."""
  workdir = tmp_path_factory.mktemp('two_saves')
  with checkpoint.Checkpoints(workdir, keep=2, keep_every=0) as checkpoints:
    for step in (10, 20):
      state = types.SimpleNamespace(
          step=jnp.int32(step), params=make_params(step), opt_state=()
      )
      checkpoints.save(step, state, META | {'step': step})
  return workdir


@pytest.fixture
def workdir(two_saves, tmp_path):
  return shutil.copytree(two_saves, tmp_path / 'run')


def damage(workdir, step):
  """Empties a file of the weights."""
  for file in (workdir / 'checkpoints' / str(step)).glob('params/d/*'):
    file.write_bytes(b'')


def test_what_was_saved_completely_exists_even_if_it_is_damaged(workdir):
  for step in (10, 20):
    damage(workdir, step)
  assert checkpoint_reader.exists(workdir)
  checkpoints = workdir / 'checkpoints'
  shutil.rmtree(checkpoints / '10')
  (checkpoints / '20').rename(checkpoints / '20.orbax-checkpoint-tmp')
  assert not checkpoint_reader.exists(workdir)
  assert not checkpoint_reader.exists(workdir / 'nowhere')


@pytest.mark.parametrize('target', [None, make_params(0)])
def test_weights_are_loaded_alone(workdir, target):
  shutil.rmtree(workdir / 'checkpoints' / '20' / 'train')
  params, step = checkpoint_reader.load_params(workdir, target)
  assert step == 20
  jax.tree.map(np.testing.assert_array_equal, params, make_params(20))


def test_loading_weights_skips_a_damaged_checkpoint_and_leaves_it(
    workdir, monkeypatch
):
  warnings = []
  monkeypatch.setattr(logging, 'warning', lambda s, *a: warnings.append(s % a))
  damage(workdir, 20)
  params, step = checkpoint_reader.load_params(workdir)
  assert step == 10
  jax.tree.map(np.testing.assert_array_equal, params, make_params(10))
  (line,) = warnings
  assert 'checkpoints/20 is damaged' in line
  assert (workdir / 'checkpoints' / '20').exists()


def test_loading_weights_needs_a_checkpoint_of_the_same_model(workdir):
  with pytest.raises(FileNotFoundError, match='there is no checkpoint in'):
    checkpoint_reader.load_params(workdir / 'elsewhere')
  with pytest.raises(ValueError, match='is of another model'):
    checkpoint_reader.load_params(workdir, make_params(0, width=8))


def test_weights_without_an_encoder_do_not_fit_where_a_prefix_is_read(
    tiny_config, tmp_path
):
  saved, wanted = (
      models.abstract(tiny_config(mixers=(mixer,)))[1]
      for mixer in ('gdn', 'prefix_gdn')
  )
  message = '8 parameters differ, .*conv_k_enc.kernel: saved not at all, wanted'
  with pytest.raises(ValueError, match=message):
    checkpoint_reader.fitting(tmp_path, saved, wanted)


def test_meta_is_readable_json(workdir):
  text = (workdir / 'checkpoints/20/meta/data.json').read_text()
  assert json.loads(text) == META | {'step': 20}
  assert checkpoint_reader.load_meta(workdir, 20) == META | {'step': 20}
