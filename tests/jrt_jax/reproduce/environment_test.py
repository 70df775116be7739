import subprocess

import pytest

from jrt_jax.reproduce import environment


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
  clean = environment.commit(tmp_path)
  assert len(clean) == 12
  (tmp_path / 'untracked').write_text('1')
  assert environment.commit(tmp_path) == clean
  (tmp_path / 'a').write_text('2')
  assert environment.commit(tmp_path) == f'{clean}+'


def test_what_is_no_checkout_has_no_commit(tmp_path):
  assert environment.commit(tmp_path) is None
