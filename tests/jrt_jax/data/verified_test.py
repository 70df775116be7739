import os
import shutil

import pytest

from jrt_jax.data import verified


@pytest.fixture
def path(tmp_path):
  path = tmp_path / 'file'
  path.write_bytes(b'content')
  verified.remember(verified.mark(path, 'digest'))
  return path


def is_known(path, sha256='digest'):
  return verified.is_set(verified.mark(path, sha256))


def test_a_file_is_known_by_any_path_as_long_as_it_stays_as_it_was(path):
  assert is_known(path)
  assert is_known(path.parent / '..' / path.parent.name / path.name)
  assert not is_known(path, 'another digest')


def written(path):
  stat = path.stat()
  path.write_bytes(b'CONTENT')
  os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def longer(path):
  stat = path.stat()
  path.write_bytes(b'content and more')
  os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replaced(path):
  shutil.copy2(path, path.with_name('copy'))  # size and times are the same
  os.replace(path.with_name('copy'), path)


@pytest.mark.parametrize('change', [written, longer, replaced])
def test_a_file_that_is_changed_is_not_known_any_more(path, change):
  change(path)
  assert not is_known(path)


def test_what_is_forgotten_is_not_known_any_more(path):
  verified.forget(verified.mark(path, 'digest'))
  assert not is_known(path)


@pytest.mark.parametrize('caches', ['{path}/no folder', 'relative'])
def test_without_a_cache_nothing_is_remembered(path, caches, monkeypatch):
  monkeypatch.chdir(path.parent)
  monkeypatch.setenv('XDG_CACHE_HOME', caches.format(path=path))
  mark = verified.mark(path, 'digest')
  verified.remember(mark)
  verified.forget(mark)
  assert not is_known(path)
  assert [*path.parent.iterdir()] == [path]
