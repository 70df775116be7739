import hypothesis
from hypothesis import strategies as st
import pytest

from fuzz import readers


@pytest.fixture(scope='module', params=readers.READERS)
def valid(request, tmp_path_factory):
  """A reader, the folder of its file, and what a valid one holds."""
  reader = readers.READERS[request.param]
  folder = tmp_path_factory.mktemp(request.param)
  reader.write(folder)
  return reader, folder, (folder / reader.file).read_bytes()


def test_a_valid_file_is_read(valid):
  reader, folder, content = valid
  (folder / reader.file).write_bytes(content)
  try:
    reader.read(folder)
  except FileNotFoundError as error:  # of an export: its weights come next
    assert 'model.safetensors' in str(error)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(st.binary(min_size=8, max_size=40))
def test_a_broken_file_is_read_or_refused_in_one_line(valid, data):
  reader, folder, content = valid
  reader.trial(folder, content, data)
