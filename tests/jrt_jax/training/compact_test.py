import json

import numpy as np
import pytest

from configs import base
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.training import compact
from jrt_jax.training import workdirs


@pytest.fixture(scope='module')
def run(tiny_config):
  """A config and params."""
  config = base.get_config().to_dict()
  config['model'] = tiny_config(mixers=['conv'])
  config['data'] |= {'path': 'shards/of/mine', 'tokenizer': 'bytes'}
  return config, models.split(models.build(config['model']))[1]


@pytest.fixture
def folder(run, tmp_path):
  compact.write(tmp_path, *run, step=7, data='9 tokens')
  return tmp_path


def test_a_workdir_is_read_from_three_files(run, folder):
  config, params, step = workdirs.read(folder)
  assert step == 7
  assert workdirs.trained_on(folder, step) == '9 tokens'
  assert config['model'] == json.loads(json.dumps(run[0]['model']))
  assert params.keys() == run[1].keys()
  for name, x in run[1].items():
    assert params[name].dtype == np.float32
    np.testing.assert_allclose(params[name], x, rtol=2**-8, err_msg=name)


def test_where_the_training_data_were_is_not_given_away(folder):
  assert 'shards/of/mine' not in (folder / 'config.json').read_text()


def test_the_tokenizer_goes_along_and_is_found(run, tmp_path):
  (tmp_path / 'mine.json').write_text('a tokenizer')
  config, params = run
  config = {**config, 'data': {**config['data']}}
  config['data']['tokenizer'] = str(tmp_path / 'mine.json')
  (tmp_path / 'out').mkdir()
  compact.write(tmp_path / 'out', config, params, step=7, data='')
  (tmp_path / 'out').rename(tmp_path / 'elsewhere')
  (tmp_path / 'mine.json').unlink()
  tokenizer = workdirs.read(tmp_path / 'elsewhere').config['data']['tokenizer']
  assert tokenizer == str(tmp_path / 'elsewhere' / 'tokenizer.json')
  assert open(tokenizer).read() == 'a tokenizer'


def test_weights_of_another_model_are_refused(run, folder):
  wrong = dict(run[1])
  wrong.popitem()
  path = folder / 'model.safetensors'
  weights.write_safetensors(path, {n: np.asarray(x) for n, x in wrong.items()})
  with pytest.raises(ValueError, match='is of another model: 1 param'):
    workdirs.read(folder)


def test_a_damaged_file_is_refused(folder):
  path = folder / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(ValueError, match='must be an intact safetensors file'):
    workdirs.read(folder)


def test_what_does_not_come_with_the_package_is_named_with_what_does():
  with pytest.raises(FileNotFoundError, match="NAME must be one of .*'gpt9'"):
    workdirs.read('builtin:gpt9')
