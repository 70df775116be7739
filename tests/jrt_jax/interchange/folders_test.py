import pytest

from jrt_jax.interchange import folders


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_files_come_when_all_of_them_are_there(tmp_path):
  path = tmp_path / 'a' / 'b'
  with folders.whole(path) as new:
    (new / 'file').write_text('text')
    assert not (path / 'file').exists()
  assert (path / 'file').read_text() == 'text'
  assert names(tmp_path / 'a') == ['b']


def test_a_folder_with_files_is_refused(tmp_path):
  (tmp_path / 'README.md').write_text('mine')
  with pytest.raises(ValueError, match='must be an empty folder or a new one'):
    with folders.whole(tmp_path) as new:
      (new / 'README.md').write_text('other')
  assert (tmp_path / 'README.md').read_text() == 'mine'
  with pytest.raises(ValueError, match='^--out must be an empty folder'):
    folders.check_empty('--out', tmp_path)


def test_an_error_leaves_the_folder_empty(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    with folders.whole(tmp_path) as new:
      (new / 'file').touch()
      raise KeyboardInterrupt
  assert not names(tmp_path)
