import importlib
import json
import sys

import pytest

from jrt_jax.reporting import metrics
from jrt_jax.reporting import wandb_log

CONFIG = {'wandb_project': 'recall', 'steps': 7, 'model': {'width': 8}}

# Stands in for the package: what is done to a run is kept in `calls`.
FAKE = """
calls = []
failing = set()


def do(name, /, *args, **kwargs):
  calls.append((name, args, kwargs))
  if name in failing:
    raise RuntimeError(f'{name}: no network\\nsecond line')


class Settings(dict):
  pass


class Run:

  def log(self, *args, **kwargs):
    do('log', *args, **kwargs)

  def finish(self):
    do('finish')


def init(**kwargs):
  do('init', **kwargs)
  return Run()
"""


@pytest.fixture
def wandb(tmp_path, monkeypatch):
  """The fake module, as an installed one."""
  (tmp_path / 'site').mkdir()
  (tmp_path / 'site' / 'wandb.py').write_text(FAKE)
  monkeypatch.delitem(sys.modules, 'wandb', raising=False)
  monkeypatch.syspath_prepend(tmp_path / 'site')
  yield importlib.import_module('wandb')
  sys.modules.pop('wandb')


@pytest.fixture
def workdir(tmp_path):
  path = tmp_path / 'jrt_8'
  path.mkdir()
  return path


def write(workdir, steps, start=0, config=CONFIG):
  with metrics.MetricWriter(workdir, start, config) as writer:
    for step in steps:
      writer.write(step, {'loss': 1 / step, 'mfu': None})


def done(wandb, name):
  """Returns [(args, kwargs)] of the calls of that name, which are forgotten."""
  found = [(args, kwargs) for n, args, kwargs in wandb.calls if n == name]
  wandb.calls[:] = [call for call in wandb.calls if call[0] != name]
  return found


def test_metrics_go_to_the_project_by_step(wandb, workdir):
  write(workdir, (1, 2))
  ((_, settings),) = done(wandb, 'init')
  assert settings['project'] == 'recall' and settings['name'] == 'jrt_8'
  assert settings['config'] == CONFIG and settings['dir'] == workdir
  assert done(wandb, 'log') == [
      (({'loss': 1.0},), {'step': 1}),
      (({'loss': 0.5},), {'step': 2}),
  ]
  assert len(done(wandb, 'finish')) == 1


def test_a_resumed_run_goes_on_under_its_id_and_a_new_one_has_another(
    wandb, workdir
):
  ids = []
  for start in (0, 3, 6, 0):
    write(workdir, (start + 1,), start)
    ((_, settings),) = done(wandb, 'init')
    assert settings['resume'] == 'allow'
    ids.append(settings['id'])
  assert ids[0] == ids[1] == ids[2] != ids[3]


@pytest.mark.parametrize('config', [None, {**CONFIG, 'wandb_project': ''}])
def test_without_a_project_nothing_is_sent(wandb, workdir, config):
  write(workdir, (1,), config=config)
  assert not wandb.calls
  assert not (workdir / 'wandb_run_id').exists()


@pytest.mark.parametrize('failing', ['init', 'log', 'finish'])
def test_a_failure_is_told_once_and_the_run_goes_on(
    wandb, workdir, failing, caplog
):
  wandb.failing.add(failing)
  write(workdir, (1, 2, 3))
  (message,) = caplog.messages
  assert message == (
      f'wandb failed, the run continues without it: {failing}: no network'
  )
  assert len(done(wandb, failing)) == 1
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line)['step'] for line in lines] == [1, 2, 3]


def test_a_package_that_is_there_or_not_asked_for_is_fine(wandb):
  del wandb
  wandb_log.check('recall')


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, 'path', [str(tmp_path)])
  monkeypatch.delitem(sys.modules, 'wandb', raising=False)
  for _ in range(2):
    with pytest.raises(ValueError, match="='recall' needs .*: pip install"):
      wandb_log.check('recall')
    (tmp_path / 'wandb').mkdir(exist_ok=True)  # wandb leaves such a folder
    importlib.invalidate_caches()
  wandb_log.check('')
