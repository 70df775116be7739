import json

import jax
import numpy as np
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.training import workdirs
from jrt_jax.training import checkpoint
from jrt_jax.training import train_state


@pytest.fixture(scope='module')
def run(tiny_config):
  """A config and params."""
  config = base.get_config().to_dict()
  config['model'] = tiny_config(mixers=['conv'])
  return config, models.split(models.build(config['model']))[1]


@pytest.fixture
def workdir(run, tmp_path):
  workdirs.write(tmp_path / 'run', *run, origin='a test')
  return tmp_path / 'run'


def test_what_is_written_is_read_again(run, workdir):
  config, params, step = workdirs.read(workdir)
  assert step == 0
  assert config == json.loads(json.dumps(run[0]))
  assert params.keys() == run[1].keys()
  for name, x in run[1].items():
    np.testing.assert_array_equal(params[name], x)


def test_a_run_cannot_resume_from_weights_alone(run, workdir):
  step = jax.numpy.zeros((), 'int32')
  state = train_state.TrainState(step, run[1], opt_state={})
  with checkpoint.Checkpoints(workdir, keep=1, keep_every=0) as checkpoints:
    with pytest.raises(ValueError, match=f'--config.init_from={workdir} for'):
      checkpoints.restore_latest(state)


def test_a_workdir_of_a_run_is_not_overwritten(run, workdir):
  with pytest.raises(ValueError, match='workdir must be a new one'):
    workdirs.write(workdir, *run, origin='a test')
  (workdir / 'config.json').unlink()
  with pytest.raises(ValueError, match='workdir must be a new one'):
    workdirs.write(workdir, *run, origin='a test')


def test_a_workdir_that_cannot_be_written_is_a_clear_error(run, tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match='workdir must be a directory that can'):
    workdirs.write(tmp_path / 'file', *run, origin='a test')


def test_a_folder_without_a_run_is_a_clear_error(tmp_path):
  with pytest.raises(FileNotFoundError, match='without config.json'):
    workdirs.read(tmp_path)


def test_a_damaged_config_is_a_clear_error(workdir):
  for text, message in (
      ('{"model":', 'must be JSON'),
      ('{}', "must have the key 'model'"),
      ('{"model": {"width": 1}}', 'must have the key'),
  ):
    (workdir / 'config.json').write_text(text)
    with pytest.raises(ValueError, match=f'config.json {message}'):
      workdirs.read(workdir)


def test_weights_of_another_model_are_a_clear_error(run, workdir):
  config = (workdir / 'config.json').read_text()
  (workdir / 'config.json').write_text(config.replace('"conv"', '"swa"'))
  with pytest.raises(ValueError, match='is of another model'):
    workdirs.read(workdir)
