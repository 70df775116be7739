import gzip

import pytest

from jrt_jax.data import text_batches


def read(paths, format='jsonl', separator='', **start):
  paths = list(map(str, paths))
  batches = text_batches.read(
      paths, format=format, separator=separator, text_key='text', **start
  )
  return list(batches)


@pytest.fixture
def two_files(tmp_path, monkeypatch):
  """Files of five and of two lines, three of which fill a batch."""
  monkeypatch.setattr(text_batches, '_BATCH_UNITS', 3)
  (tmp_path / 'a.jsonl').write_text('0\n1\n\n3\n4\n')
  (tmp_path / 'b.jsonl.gz').write_bytes(gzip.compress(b'5\n6'))
  return tmp_path / 'a.jsonl', tmp_path / 'b.jsonl.gz'


def test_batches_hold_adjacent_lines_of_one_file(two_files):
  batches = read(two_files)
  assert [(b.file, b.first, b''.join(b.units)) for b in batches] == [
      (0, 0, b'0\n1\n\n'),
      (0, 3, b'3\n4\n'),
      (1, 0, b'5\n6'),
  ]
  assert [b.path for b in batches] == [str(two_files[i]) for i in (0, 0, 1)]
  assert batches[-1].read == two_files[1].stat().st_size


def test_a_batch_is_full_when_it_has_enough_bytes(two_files, monkeypatch):
  monkeypatch.setattr(text_batches, '_BATCH_BYTES', 3)
  assert [len(b.units) for b in read(two_files)] == [2, 2, 1, 2]


@pytest.mark.parametrize('file', [0, 1, 2])
@pytest.mark.parametrize('unit', [0, 1, 2, 5])
def test_reading_starts_at_any_line(file, unit, two_files):
  all_lines = [(0, i) for i in range(5)] + [(1, 0), (1, 1)]
  lines = [
      (batch.file, batch.first + i)
      for batch in read(two_files, file=file, unit=unit)
      for i in range(len(batch.units))
  ]
  assert lines == [line for line in all_lines if line >= (file, unit)]


@pytest.mark.parametrize(
    ('separator', 'documents'),
    [
        ('<|endoftext|>', [b'one\n\nline', b'two', b'']),
        ('\n\n', [b'one', b'line\n<|endoftext|>\ntwo<|endoftext|>']),
        ('', [b' one\n\nline\n<|endoftext|>\ntwo<|endoftext|>\n']),
        ('absent', [b' one\n\nline\n<|endoftext|>\ntwo<|endoftext|>\n']),
    ],
)
def test_text_is_divided_into_documents(separator, documents, tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text(' one\n\nline\n<|endoftext|>\ntwo<|endoftext|>\n')
  [batch] = read([path], 'text', separator)
  assert batch.units == documents


def test_what_is_read_grows_with_every_batch_of_a_text(tmp_path, monkeypatch):
  monkeypatch.setattr(text_batches, '_BATCH_UNITS', 1)
  path = tmp_path / 'a.txt.gz'
  path.write_bytes(gzip.compress(b'one|two|three|four'))
  size = path.stat().st_size
  expected = [size * documents // 4 for documents in (1, 2, 3, 4)]
  assert [batch.read for batch in read([path], 'text', '|')] == expected
  resumed = read([path], 'text', '|', unit=2)
  assert [batch.read for batch in resumed] == expected[2:]


def test_a_binary_file_is_no_text(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_bytes(bytes(range(256)))
  with pytest.raises(ValueError, match='a.txt must be text in UTF-8'):
    read([path], 'text', '|')


@pytest.mark.parametrize('unit', [0, 1, 3, 4])
def test_rows_of_parquet_are_read_from_any_row(unit, tmp_path, monkeypatch):
  monkeypatch.setattr(text_batches, '_BATCH_UNITS', 2)
  path = write_parquet(tmp_path, ['one', 'two', None, 'four'], 3)
  batches = read([path], 'parquet', unit=unit)
  units = [unit for batch in batches for unit in batch.units]
  assert units == [b'one', b'two', b'', b'four'][unit:]
  assert [b.first for b in batches] == list(range(unit, 4, 2))
  assert all(0 < b.read <= path.stat().st_size for b in batches)


def test_documents_of_parquet_are_those_of_its_rows(tmp_path):
  path = write_parquet(tmp_path, ['one', None, 'ä'], 2)
  documents = text_batches.documents(
      [str(path)], format='parquet', separator='', text_key='text'
  )
  assert list(documents) == ['one', '', 'ä']


def write_parquet(folder, texts, row_group_size):
  pa, pq = map(pytest.importorskip, ('pyarrow', 'pyarrow.parquet'))
  path = folder / 'a.parquet'
  pq.write_table(pa.table({'text': texts}), path, row_group_size=row_group_size)
  return path


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['a.jsonl', 'b.jsonl.gz', 'c.jsonl.zst'], 'jsonl'),
        (['a.txt', 'b.md', 'c.text.gz'], 'text'),
        (['a.parquet', 'b.parquet'], 'parquet'),
    ],
)
def test_the_extension_tells_the_format(names, expected):
  assert text_batches.text_format(names) == expected


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['a.txt', 'b.arrow'], '--format must be given: .* b.arrow'),
        (['a.gz'], '--format must be given: .* a.gz'),
        (['a.txt', 'b.jsonl'], '--input must name files of one format, got js'),
    ],
)
def test_a_format_that_is_not_clear_is_refused(names, message):
  with pytest.raises(ValueError, match=message):
    text_batches.text_format(names)
