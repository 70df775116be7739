import numpy as np
import pytest

from configs import base
from jrt_jax.data import splits
from jrt_jax.data import tokenizers
from jrt_jax.data import vocabulary


def test_a_source_without_text_is_refused_where_text_is_read():
  data = base.get_config().data.to_dict() | {'source': 'mqar'}
  with pytest.raises(ValueError, match="must be text, got 'mqar', a synthetic"):
    splits.token_streams(data, vocabulary.load_tokenizer(data))


def token_streams(
    tmp_path, text='abcdefgh', tokenizer=tokenizers.Bytes(), **changes
):
  path = tmp_path / 'train.txt'
  path.write_text(text)
  data = {
      'source': 'text',
      'path': str(path),
      'mixture': (),
      'text_key': 'text',
      'validation_path': '',
      'validation_fraction': 0.25,
  }
  return splits.token_streams(data | changes, tokenizer)


def test_the_end_of_the_data_is_held_out(tmp_path):
  split = token_streams(tmp_path)
  assert split['train'][:].tolist() == [*b'abcdefg']
  assert split['validation'][:].tolist() == [*b'h', 256]
  assert split['train'][:1].dtype == np.uint16


def test_held_out_files_leave_the_training_data_whole(tmp_path):
  (tmp_path / 'held_out.txt').write_text('xyz')
  split = token_streams(
      tmp_path, validation_path=str(tmp_path / 'held_out.txt')
  )
  assert split['train'][:].tolist() == [*b'abcdefgh', 256]
  assert split['validation'][:].tolist() == [*b'xyz', 256]


def test_rows_of_parquet_become_tokens(tmp_path):
  pa, pq = map(pytest.importorskip, ('pyarrow', 'pyarrow.parquet'))
  path = tmp_path / 'a.parquet'
  pq.write_table(pa.table({'text': ['one', None, 'two']}), path)
  split = token_streams(tmp_path, source='parquet', path=str(path))
  train = split['train'][:].tolist() + split['validation'][:].tolist()
  assert train == [*b'one', 256, *b'two', 256]
  stream = splits.stream_of_files(
      '--input', str(path), tokenizers.Bytes(), text_key='text'
  )
  assert stream[:].tolist() == train


def test_a_large_vocabulary_gets_wide_tokens(tmp_path, monkeypatch):
  monkeypatch.setattr(tokenizers.Bytes, 'size', 2**16 + 1)
  assert token_streams(tmp_path)['train'][:1].dtype == np.uint32


def test_the_standard_library_becomes_two_streams(tmp_path):
  split = token_streams(tmp_path, source='python_stdlib')
  assert len(split['train']) > 10 * len(split['validation']) > 1_000_000
  assert (split['train'][:] == 256).sum() > 100


def test_data_without_text_are_refused(tmp_path):
  message = "config.data.source='text' has no train text"
  with pytest.raises(ValueError, match=message):
    token_streams(tmp_path, text='')
