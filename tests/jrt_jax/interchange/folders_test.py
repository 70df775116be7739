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


def test_files_replace_those_of_their_names_and_no_others(tmp_path):
  path = tmp_path / 'folder'
  path.mkdir()
  for name in ('old', 'kept'):
    (path / name).write_text('before')
  with folders.whole(path) as new:
    (new / 'old').write_text('after')
  assert (path / 'old').read_text() == 'after'
  assert (path / 'kept').read_text() == 'before'


def test_an_error_leaves_the_files_as_they_were(tmp_path):
  (tmp_path / 'file').write_text('before')
  with pytest.raises(KeyboardInterrupt):
    with folders.whole(tmp_path) as new:
      (new / 'file').write_text('after')
      (new / 'other').touch()
      raise KeyboardInterrupt
  assert names(tmp_path) == ['file']
  assert (tmp_path / 'file').read_text() == 'before'
