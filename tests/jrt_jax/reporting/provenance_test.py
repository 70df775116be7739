import json
import math
import subprocess
import sys

import numpy as np
import pytest

from jrt_jax.evaluation import statistics
from jrt_jax.reporting import provenance


@pytest.fixture
def git(tmp_path):
  """Runs git in a folder that is a checkout."""

  def git(*arguments):
    name = ['-c', 'user.name=a', '-c', 'user.email=a@b.c']
    subprocess.run(['git', *name, *arguments], cwd=tmp_path, check=True)

  git('init', '-q')
  return git


def test_a_commit_says_whether_files_differ_from_it(git, tmp_path):
  (tmp_path / 'a').write_text('1')
  git('add', 'a')
  git('commit', '-qm', 'a')
  clean = provenance.commit(tmp_path)
  assert len(clean) == 12
  (tmp_path / 'untracked').write_text('1')
  assert provenance.commit(tmp_path) == clean
  (tmp_path / 'a').write_text('2')
  assert provenance.commit(tmp_path) == f'{clean}+'


def test_what_is_no_checkout_has_no_commit(tmp_path):
  assert provenance.commit(tmp_path) is None


def test_no_device_of_jax_is_started_unless_it_computes():
  code = """
from jax._src import xla_bridge
from jrt_jax.reporting import provenance
for on_jax in (False, True):
  provenance.describe(on_jax=on_jax)
  print(xla_bridge.backends_are_initialized())
"""
  done = subprocess.run(
      [sys.executable, '-c', code],
      stdout=subprocess.PIPE,
      text=True,
      check=True,
  )
  assert done.stdout.split() == ['False', 'True']


def test_numbers_that_are_not_finite_are_null_and_arrays_are_lists(tmp_path):
  path = tmp_path / 'a.json'
  value = {
      'found': statistics.Estimate(1.0, math.nan, math.inf, 3, 'words'),
      1: np.array([1.5, -np.inf]),
      'count': np.int64(3),
  }
  provenance.write_json(path, value)
  read = json.loads(path.read_text())
  assert read['found'] == {
      'estimate': 1.0,
      'low': None,
      'high': None,
      'n': 3,
      'method': 'words',
  }
  assert read['1'] == [1.5, None] and read['count'] == 3


def test_a_file_is_replaced_as_a_whole(tmp_path):
  path = tmp_path / 'a.json'
  provenance.write_json(path, {'rows': []})
  with pytest.raises(TypeError):
    provenance.write_json(path, {'rows': [object()]})
  assert json.loads(path.read_text()) == {'rows': []}
  assert [x.name for x in tmp_path.iterdir()] == ['a.json']


def test_a_command_can_be_pasted_into_a_shell(monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['recall.py', '--tasks=my rows.jsonl'])
  said = provenance.command('jrt_jax.recall')
  assert said == "python -m jrt_jax.recall '--tasks=my rows.jsonl'"
