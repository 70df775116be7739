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
    with pytest.raises(ValueError, match=f'--config.init_from={workdir} and'):
      checkpoints.restore_latest(state)


def test_a_workdir_of_a_run_is_not_overwritten(run, workdir):
  with pytest.raises(ValueError, match='workdir must be new, got'):
    workdirs.write(workdir, *run, origin='a test')
  (workdir / 'config.json').unlink()
  with pytest.raises(ValueError, match='workdir must be new, got'):
    workdirs.write(workdir, *run, origin='a test')


def test_a_workdir_that_cannot_be_written_is_a_clear_error(run, tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match='workdir must be a directory that can'):
    workdirs.write(tmp_path / 'file', *run, origin='a test')


def test_a_folder_without_a_run_is_a_clear_error(tmp_path):
  with pytest.raises(FileNotFoundError, match='has no config.json'):
    workdirs.read(tmp_path)


def test_a_damaged_config_is_a_clear_error(workdir):
  for text, message in (
      ('{"model":', ' must be JSON'),
      ('[' * 10**5, ' must be JSON'),
      ('[]', ': must be an object'),
      ('{}', ': model must be given'),
      ('{"model": 1}', ': model must be an object with keys, got 1'),
      ('{"model": {}, "prefix": 1}', ': prefix must be an object'),
      ('{"model": {}, "optimizer": 1}', ' is of another version.*: .optimizer'),
      ('{"model": {"width": 1e9}}', ': model.width must be .*, got 1000000000'),
      ('{"model": {"norm_eps": NaN}}', ': model.norm_eps must be .*, got nan'),
      ('{"model": {}, "prefix": {"capacity": "x"}}', ': prefix.capacity must'),
      (
          '{"model": {}, "prefix": {"name": "learned"}}',
          ': prefix.fitted must be an object with keys, got None',
      ),
      (
          '{"model": {}, "sequence_length": 1000000000000}',
          ': sequence_length must be a whole number',
      ),
  ):
    (workdir / 'config.json').write_text(text)
    with pytest.raises(ValueError, match=f'config.json{message}'):
      workdirs.read(workdir)


def without(config, section, key):
  return {
      **config,
      section: {k: v for k, v in config[section].items() if k != key},
  }


def test_a_key_that_came_later_has_its_default(run, workdir, capsys):
  whole = workdirs.read(workdir).config
  assert not capsys.readouterr().err
  old = without(without(whole, 'model', 'remat'), 'data', 'packing')
  del old['wandb_project']
  (workdir / 'config.json').write_text(json.dumps(old))
  assert workdirs.read(workdir).config == whole
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'{workdir}/config.json is of an earlier version')
  for key in ('model.remat', 'data.packing', 'wandb_project'):
    assert key in line


def test_what_an_earlier_version_trained_with_is_still_read(workdir):
  config = workdirs.read(workdir).config
  config['objective']['mlm_weight'] = -1.0
  config['optimizer']['weight_decay'] = -0.1
  config |= {'keep_every': -3, 'seed': 2**33}
  (workdir / 'config.json').write_text(json.dumps(config))
  assert workdirs.read(workdir).config == config


def test_a_key_of_a_later_version_is_refused(workdir):
  config = workdirs.read(workdir).config
  config['model']['colour'] = 'red'
  (workdir / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='another version.* .model.colour.$'):
    workdirs.read(workdir)


def test_the_policy_that_a_run_has_fitted_is_no_unknown_key(workdir):
  config = workdirs.read(workdir).config
  config['prefix']['fitted'] = {'policy': 'entropy', 'thresholds': [1.0, 2.0]}
  (workdir / 'config.json').write_text(json.dumps(config))
  assert workdirs.read(workdir).config == config


def test_what_is_written_without_a_key_has_its_default(run, tmp_path, capsys):
  config, params = run
  partial = without(config, 'model', 'remat')
  workdirs.write(tmp_path / 'run', partial, params, origin='a test')
  assert workdirs.read(tmp_path / 'run').config['model']['remat'] == 'none'
  assert not capsys.readouterr().err


def test_weights_of_another_model_are_a_clear_error(run, workdir):
  config = (workdir / 'config.json').read_text()
  (workdir / 'config.json').write_text(config.replace('"conv"', '"swa"'))
  with pytest.raises(ValueError, match='is of another model'):
    workdirs.read(workdir)


def test_the_tokenizer_of_a_run_is_known_and_of_other_folders_not(
    workdir, tmp_path
):
  assert workdirs.tokenizer(workdir) == 'bytes'
  assert workdirs.tokenizer('builtin:jrt_2m').endswith('jrt_2m/tokenizer.json')
  assert workdirs.tokenizer(tmp_path) is None
  assert workdirs.tokenizer('gpt2') is None
