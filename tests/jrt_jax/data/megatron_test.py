import struct

from absl import logging
import numpy as np
import pytest

from jrt_jax.data import splits as splits_lib
from jrt_jax.data import tokenizers

EOS = tokenizers.Bytes.eos_id


def write(prefix, documents, dtype='int32'):
  """Writes documents of one sequence each."""
  sizes = np.array([len(document) for document in documents], '<i4')
  ends = np.arange(len(sizes) + 1, dtype='<i8')
  tokens = np.concatenate(documents).astype(dtype)
  pointers = (np.cumsum(sizes) - sizes).astype('<i8') * tokens.itemsize
  header = struct.pack(
      '<9sQBQQ',
      b'MMIDIDX',
      1,
      {'uint16': 8, 'int32': 4}[dtype],
      len(sizes),
      len(ends),
  )
  index = header + sizes.tobytes() + pointers.tobytes() + ends.tobytes()
  prefix.with_name(f'{prefix.name}.idx').write_bytes(index)
  prefix.with_name(f'{prefix.name}.bin').write_bytes(tokens.tobytes())


def read(files, **changes):
  data = {
      'source': 'megatron',
      'path': str(files),
      'mixture': (),
      'validation_path': '',
      'validation_fraction': 0.2,
      'packing': 'documents',
      'verify': True,
  }
  return splits_lib.token_streams(data | changes, tokenizers.Bytes())


def document(length, first=0):
  return [*range(first, first + length - 1), EOS]


@pytest.fixture
def two_files(tmp_path):
  """Files of 10 + 20 and of 30 + 40 tokens, of other types."""
  write(tmp_path / 'a_document', [document(10), document(20)])
  write(tmp_path / 'b_document', [document(30), document(40)], 'uint16')
  return tmp_path


@pytest.mark.parametrize(
    'path',
    [
        '{0}/*_document',
        '{0}/a_document,{0}/b_document',
        '{0}/a*.bin,{0}/b_document.idx',
    ],
)
def test_files_are_read_end_to_end(path, two_files):
  splits = read(path.format(two_files))
  tokens = [*splits['train'][:], *splits['validation'][:]]
  assert tokens == [t for n in (10, 20, 30, 40) for t in document(n)]


@pytest.mark.parametrize(
    ('fraction', 'length'), [(0.01, 40), (0.4, 40), (0.41, 70), (0.7, 70)]
)
def test_whole_documents_at_the_end_are_held_out(fraction, length, two_files):
  splits = read(two_files / '*', validation_fraction=fraction)
  assert len(splits['train']) == 100 - length
  assert len(splits['validation']) == length
  assert splits['train'][:][-1] == EOS


def test_held_out_files_leave_the_training_data_whole(two_files):
  splits = read(
      two_files / 'a_document', validation_path=str(two_files / 'b_document')
  )
  assert {name: len(stream) for name, stream in splits.items()} == {
      'train': 30,
      'validation': 70,
  }


def test_a_split_is_never_empty(tmp_path):
  write(tmp_path / 'a', [document(100)])
  with pytest.raises(ValueError, match="source='megatron' has no train text"):
    read(tmp_path / 'a')


def test_the_fingerprint_depends_on_the_index_and_on_the_cut(two_files):
  fingerprints = {
      read(two_files / path, **changes)['train'].fingerprint
      for path, changes in (
          ('a*', {}),
          ('b*', {}),
          ('*', {}),
          ('*', {'validation_fraction': 0.8}),
      )
  }
  assert len(fingerprints) == 4


@pytest.mark.parametrize('wrong', [257, -1])
def test_an_id_that_the_tokenizer_does_not_have_is_refused(wrong, tmp_path):
  write(tmp_path / 'a', [[1, 2, wrong, EOS], [1, EOS]])
  message = f'a.bin: .* from 0 to 256, got {wrong} at token 2'
  with pytest.raises(ValueError, match=message):
    read(tmp_path / 'a')


def test_documents_without_an_end_can_only_be_concatenated(
    tmp_path, monkeypatch
):
  warnings = []
  monkeypatch.setattr(logging, 'warning', warnings.append)
  write(tmp_path / 'a', [[1, 2], [3, EOS], [4, 5]])
  message = 'should end with token 256, .* 2 of 3 that were checked do not: .*append-eod'
  with pytest.raises(ValueError, match=f"{message}.*='documents' needs these"):
    read(tmp_path / 'a')
  splits = read(tmp_path / 'a', packing='concat', validation_fraction=0.4)
  assert splits['train'][:].tolist() == [1, 2, 3, EOS]
  assert len(warnings) == 1


def test_a_path_that_matches_nothing_is_refused(two_files):
  for changes in ({'path': 'c_*'}, {'validation_path': 'c_*'}):
    key = next(iter(changes))
    with pytest.raises(FileNotFoundError, match=f'config.data.{key} must name'):
      read(two_files / '*', **changes)
