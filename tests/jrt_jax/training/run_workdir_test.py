import json
import os

import pytest

from jrt_jax.training import run_workdir


def test_a_workdir_is_made_with_its_parents(tmp_path):
  path = run_workdir.check_workdir(str(tmp_path / 'runs' / 'a'))
  assert path.is_dir() and not list(path.iterdir())
  assert run_workdir.check_workdir(path) == path


def test_a_workdir_below_a_file_is_refused_in_one_line(tmp_path):
  (tmp_path / 'file').touch()
  for workdir in (tmp_path / 'file', tmp_path / 'file' / 'run'):
    with pytest.raises(ValueError, match=f'workdir must be .* {workdir}: .*$'):
      run_workdir.check_workdir(workdir)


def test_an_unwritable_workdir_is_refused_in_one_line(tmp_path, monkeypatch):
  def refuse(*args, **kwargs):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(run_workdir.tempfile, 'TemporaryFile', refuse)
  with pytest.raises(ValueError, match=f'{tmp_path}: Permission denied$'):
    run_workdir.check_workdir(tmp_path)


CONFIG = {
    'steps': 10,
    'batch_size': 4,
    'optimizer': {'peak_lr': 1e-3},
    'model': {'mixers': ('conv', 'pla'), 'width': 8, 'remat': 'none'},
}


def changed(section=None, **keys):
  if section:
    keys = {section: CONFIG[section] | keys}
  return CONFIG | keys


def record(workdir, config, allow_change=False):
  run_workdir.record_config(workdir, config, allow_change=allow_change)


def read(workdir, name='config.json'):
  return json.loads((workdir / name).read_text())


def test_the_config_is_recorded_once_and_accepted_again(tmp_path):
  for _ in range(2):
    record(tmp_path, CONFIG)
  assert read(tmp_path) == json.loads(json.dumps(CONFIG))
  assert os.listdir(tmp_path) == ['config.json']


def test_a_changed_config_is_refused_with_its_differences(tmp_path):
  record(tmp_path, CONFIG)
  new = changed('optimizer', peak_lr=0.01) | {'steps': 20, 'extra': 'a'}
  with pytest.raises(ValueError) as error:
    record(tmp_path, new)
  first, *rest = str(error.value).splitlines()
  assert str(tmp_path) in first
  assert '--workdir' in first and '--allow_config_change' in first
  assert rest == [
      'extra: (not set) → "a"',
      'optimizer.peak_lr: 0.001 → 0.01',
      'steps: 10 → 20',
  ]
  assert read(tmp_path)['steps'] == 10


def test_a_config_that_is_forgotten_can_be_any_other(tmp_path):
  run_workdir.forget_config(tmp_path)  # there need not be one
  record(tmp_path, CONFIG)
  run_workdir.forget_config(tmp_path)
  record(tmp_path, {'seed': 7})
  assert read(tmp_path) == {'seed': 7}
  assert os.listdir(tmp_path) == ['config.json']


def test_a_change_that_is_allowed_keeps_the_old_configs(tmp_path):
  for steps in (10, 20, 30):
    record(tmp_path, changed(steps=steps), allow_change=True)
  names = ['config.1.json', 'config.2.json', 'config.json']
  assert sorted(os.listdir(tmp_path)) == names
  assert [read(tmp_path, name)['steps'] for name in names] == [10, 20, 30]


@pytest.mark.parametrize('allow_change', [False, True])
def test_another_model_is_never_allowed(tmp_path, allow_change):
  record(tmp_path, CONFIG)
  with pytest.raises(ValueError) as error:
    record(tmp_path, changed('model', mixers=('conv',)), allow_change)
  first, *rest = str(error.value).splitlines()
  assert 'another model' in first and '--allow_config_change' not in first
  assert rest == ['model.mixers: ["conv", "pla"] → ["conv"]']
  assert os.listdir(tmp_path) == ['config.json']


def test_rematerialisation_is_not_another_model(tmp_path):
  record(tmp_path, CONFIG)
  record(tmp_path, changed('model', remat='full'), allow_change=True)
  assert read(tmp_path)['model']['remat'] == 'full'


def test_other_questions_on_the_way_are_the_same_run(tmp_path):
  record(tmp_path, CONFIG | {'probes': {'every': 0, 'prompts': ('default',)}})
  new = CONFIG | {'probes': {'every': 5, 'prompts': ('twice',)}}
  record(tmp_path, new)
  assert read(tmp_path)['probes'] == {'every': 5, 'prompts': ['twice']}


def test_another_optimizer_is_never_allowed(tmp_path):
  record(tmp_path, changed('optimizer', name='adamw'))
  with pytest.raises(ValueError) as error:
    record(tmp_path, changed('optimizer', name='muon'), allow_change=True)
  first, *rest = str(error.value).splitlines()
  assert 'another optimizer' in first and '--config.init_from' in first
  assert rest == ['optimizer.name: "adamw" → "muon"']


def test_other_batches_are_never_allowed(tmp_path):
  record(tmp_path, CONFIG)
  with pytest.raises(ValueError) as error:
    record(tmp_path, changed(batch_size=8), allow_change=True)
  first, *rest = str(error.value).splitlines()
  assert 'other batches' in first and '--config.init_from' in first
  assert rest == ['batch_size: 4 → 8']
