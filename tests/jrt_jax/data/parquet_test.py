import io
import sys

import pytest

from jrt_jax.data import parquet

pa = pytest.importorskip('pyarrow')
pq = pytest.importorskip('pyarrow.parquet')

TEXTS = ['zero', 'ein Wörtchen', None, '', 'four', 'five', 'six']


def write(path, texts=TEXTS, kind=None, **options):
  table = pa.table({'id': range(len(texts)), 'text': pa.array(texts, kind)})
  pq.write_table(table, path, **options)
  return path


def rows(path, first=0, name='text'):
  with open(path, 'rb') as file:
    return list(parquet.TextColumn(file, str(path), name).rows(first))


@pytest.mark.parametrize('row_group_size', [1, 2, 3, 7])
@pytest.mark.parametrize('first', range(len(TEXTS) + 1))
def test_rows_are_read_from_any_row_of_any_row_group(
    first, row_group_size, tmp_path, monkeypatch
):
  monkeypatch.setattr(parquet, '_ROWS', 2)
  path = write(tmp_path / 'a.parquet', row_group_size=row_group_size)
  expected = [(text or '').encode() for text in TEXTS]
  assert rows(path, first) == expected[first:]


@pytest.mark.parametrize(
    'kind',
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
@pytest.mark.parametrize('compression', ['none', 'snappy', 'zstd', 'gzip'])
def test_text_of_every_kind_is_read(kind, compression, tmp_path):
  path = write(tmp_path / 'a.parquet', kind=kind, compression=compression)
  assert rows(path) == [(text or '').encode() for text in TEXTS]


def test_row_groups_before_the_first_row_are_not_read(tmp_path):
  path = write(tmp_path / 'a.parquet', ['a' * 99] * 6, row_group_size=3)
  chunk = pq.ParquetFile(path).metadata.row_group(0).column(1)
  content = bytearray(path.read_bytes())
  start = chunk.dictionary_page_offset or chunk.data_page_offset
  content[start : start + chunk.total_compressed_size] = bytes(
      chunk.total_compressed_size
  )
  path.write_bytes(content)
  assert rows(path, 3) == [b'a' * 99] * 3
  with pytest.raises(ValueError, match='broken .parquet file'):
    rows(path, 2)


def test_a_large_row_group_is_not_held_in_memory(tmp_path):
  """Of 32 MB in one row group, a page is read and decoded at a time."""
  texts = [f'{i:08d}' * 2**10 for i in range(2**12)]
  path = write(
      tmp_path / 'a.parquet', texts, compression='none', use_dictionary=False
  )
  assert pq.ParquetFile(path).num_row_groups == 1
  before, decoded, pieces = pa.total_allocated_bytes(), [], []

  class File(io.FileIO):

    def read(self, size=-1):
      content = super().read(size)
      pieces.append(len(content))
      return content

  with File(path) as file:
    column = parquet.TextColumn(file, str(path), 'text')
    for i, text in enumerate(column.rows()):
      assert text == texts[i].encode()
      decoded.append(pa.total_allocated_bytes() - before)
  assert sum(pieces) > 2**25
  assert max(pieces) < 2**24
  assert max(decoded) < 2**24


@pytest.mark.parametrize('end', [0, 3, 100, -1])
def test_a_file_that_was_cut_off_is_refused_in_one_line(end, tmp_path):
  path = write(tmp_path / 'a.parquet')
  path.write_bytes(path.read_bytes()[:end])
  with pytest.raises(ValueError, match='a.parquet: broken .parquet') as error:
    rows(path)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (
            'body',
            r"text_key='body' must name one column, got columns \['id', 'te",
        ),
        ('id', "text_key='id' must name a column of text, got int64"),
    ],
)
def test_a_column_without_text_is_refused(name, message, tmp_path):
  path = write(tmp_path / 'a.parquet')
  with pytest.raises(ValueError, match=f'a.parquet: {message}'):
    rows(path, name=name)


def test_without_pyarrow_one_line_names_the_extra(tmp_path, monkeypatch):
  path = write(tmp_path / 'a.parquet')
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  with pytest.raises(ValueError, match=r"a.parquet needs .*'\.\[parquet\]'"):
    rows(path)


def test_a_column_is_found_by_its_whole_name(tmp_path):
  path = tmp_path / 'a.parquet'
  struct = pa.array([{'b': 'a field'}])
  pq.write_table(pa.table({'a': struct, 'a.b': ['a column']}), path)
  assert rows(path, name='a.b') == [b'a column']


def test_a_name_that_two_columns_have_is_refused(tmp_path):
  path = tmp_path / 'a.parquet'
  texts = pa.array(['one'])
  pq.write_table(pa.Table.from_arrays([texts, texts], ['text', 'text']), path)
  with pytest.raises(ValueError, match="text_key='text' must name one column"):
    rows(path)
