import pytest

from jrt_jax import atomic_write


def test_what_was_written_replaces_the_file(tmp_path):
  path = tmp_path / 'a.json'
  for content in ('first', 'second\r\n…'):
    atomic_write.text(path, content)
    assert path.read_bytes() == content.encode()
  assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize('durable', [False, True])
def test_a_reader_finds_the_old_file_until_the_new_one_is_whole(
    tmp_path, durable
):
  path = tmp_path / 'a.json'
  path.write_text('old')
  with atomic_write.replacing(path, durable=durable) as new:
    new.write_text('new')
    assert path.read_text() == 'old'
  assert path.read_text() == 'new'


def test_after_an_error_the_file_is_as_it_was(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text('old')
  with pytest.raises(ZeroDivisionError):
    with atomic_write.replacing(path) as new:
      new.write_text('half')
      raise ZeroDivisionError
  assert path.read_text() == 'old'
  assert [*tmp_path.iterdir()] == [path]
