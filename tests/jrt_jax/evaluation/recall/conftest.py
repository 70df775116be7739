"""Files of rows."""

import json

import pytest


@pytest.fixture
def file(tmp_path):
  """A function that writes rows, and returns the path of their file."""

  def write(*rows, name='rows.jsonl'):
    path = tmp_path / name
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return str(path)

  return write
