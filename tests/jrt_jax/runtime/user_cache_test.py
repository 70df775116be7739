import pwd

import pytest

from jrt_jax.runtime import user_cache


def test_it_is_where_the_user_says_or_else_in_the_home(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'caches'))
  assert user_cache.folder() == tmp_path / 'caches' / 'jrt_jax'
  monkeypatch.delenv('XDG_CACHE_HOME')
  assert user_cache.folder() == tmp_path / '.cache' / 'jrt_jax'


@pytest.fixture
def homeless(monkeypatch):
  """Neither the environment nor the system knows a home."""
  monkeypatch.delenv('HOME')
  monkeypatch.delenv('XDG_CACHE_HOME', raising=False)

  def unknown(uid):
    raise KeyError(uid)

  monkeypatch.setattr(pwd, 'getpwuid', unknown)


def test_without_a_home_there_is_none(homeless):
  assert user_cache.folder() is None


def test_a_relative_folder_is_none(monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', 'caches')
  assert user_cache.folder() is None
