import struct

import numpy as np
import pytest

from jrt_jax.data import megatron_file

CODES = {'uint8': 1, 'int32': 4, 'int64': 5, 'uint16': 8}
DOCUMENTS = [[[1, 2, 3], [4]], [], [[5, 6]], [[7]]]  # of sequences of tokens


def write(prefix, documents=DOCUMENTS, dtype='uint16', **changes):
  """Writes a pair of files as the format says; `changes` break the index."""
  sequences = [sequence for document in documents for sequence in document]
  sizes = np.array([len(sequence) for sequence in sequences], '<i4')
  ends = np.cumsum([0] + [len(document) for document in documents])
  bytes_before = (np.cumsum(sizes) - sizes) * np.dtype(dtype).itemsize
  index = {
      'magic': b'MMIDIDX\x00\x00',
      'version': struct.pack('<Q', 1),
      'code': struct.pack('<B', CODES[dtype]),
      'counts': struct.pack('<QQ', len(sizes), len(ends)),
      'sizes': sizes.tobytes(),
      'pointers': bytes_before.astype('<i8').tobytes(),
      'ends': ends.astype('<i8').tobytes(),
      'rest': b'',
  }
  tokens = np.array([t for sequence in sequences for t in sequence], dtype)
  prefix.with_name(f'{prefix.name}.bin').write_bytes(tokens.tobytes())
  content = b''.join((index | changes).values())
  prefix.with_name(f'{prefix.name}.idx').write_bytes(content)
  return str(prefix)


def int64(*values):
  return np.array(values, '<i8').tobytes()


@pytest.mark.parametrize('dtype', CODES)
def test_tokens_are_read_exactly(dtype, tmp_path):
  file = megatron_file.MegatronFile(write(tmp_path / 'a', dtype=dtype))
  assert file.tokens.tolist() == [1, 2, 3, 4, 5, 6, 7]
  assert file.tokens.dtype == dtype


def test_documents_are_what_lies_between_their_ends(tmp_path):
  file = megatron_file.MegatronFile(write(tmp_path / 'a'))
  assert file.num_documents() == 4
  assert [file.end(i) for i in range(4)] == [4, 4, 6, 7]


def test_files_without_tokens_are_read(tmp_path):
  file = megatron_file.MegatronFile(write(tmp_path / 'a', []))
  assert len(file.tokens) == file.num_documents() == 0


def test_tokens_are_not_copied_into_memory(tmp_path):
  file = megatron_file.MegatronFile(write(tmp_path / 'a'))
  assert isinstance(file.tokens.base, np.memmap)


def test_the_checksum_tells_indices_apart(tmp_path):
  same = [write(tmp_path / name) for name in 'ab']
  other = write(tmp_path / 'c', DOCUMENTS + [[[8]]])
  a, b, c = (megatron_file.MegatronFile(x).checksum for x in (*same, other))
  assert a == b != c


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'magic': b'TNTIDX\x00\x00\x00'}, 'a.idx: not an index of Megatron'),
        ({'version': struct.pack('<Q', 2)}, 'a.idx: version must be 1, got 2'),
        ({'code': b'\x06'}, 'dtype must be one of 1, 2, 3, 4, 5, 8, got 6'),
        ({'ends': b''}, 'must have 122 bytes for its 4 sequences and 5 .* 82'),
        ({'rest': b'0'}, 'must have 122 bytes .* got 123'),
        (
            {'counts': struct.pack('<QQ', 2**40, 5)},
            'must have .* bytes for its 1099511627776 sequences',
        ),
        ({'pointers': int64(0, 6, 8, 10)}, 'sequence 3 must begin where the'),
        ({'pointers': int64(0, 6, 8, 2**60)}, 'sequence 3 must begin where'),
        ({'ends': int64(0, 2, 1, 3, 4)}, 'documents must rise from 0 to 4'),
        ({'ends': int64(0, 2, 2, 3, 5)}, 'documents must rise from 0 to 4'),
        ({'code': b'\x04', 'pointers': int64(0, 12, 16, 24)}, 'have 28 bytes'),
    ],
)
def test_a_broken_index_is_refused(changes, message, tmp_path):
  prefix = write(tmp_path / 'a', **changes)
  with pytest.raises(ValueError, match=message):
    megatron_file.MegatronFile(prefix)


def test_an_empty_index_is_refused(tmp_path):
  prefix = write(tmp_path / 'a')
  (tmp_path / 'a.idx').write_bytes(b'')
  with pytest.raises(ValueError, match='a.idx: not an index'):
    megatron_file.MegatronFile(prefix)


@pytest.mark.parametrize('change', [lambda x: x[:-1], lambda x: x + b'0'])
def test_tokens_cut_off_or_added_are_refused(change, tmp_path):
  prefix = write(tmp_path / 'a')
  path = tmp_path / 'a.bin'
  path.write_bytes(change(path.read_bytes()))
  with pytest.raises(ValueError, match='a.bin must have 14 bytes, got 1[35]'):
    megatron_file.MegatronFile(prefix)


def test_an_index_without_tokens_is_refused(tmp_path):
  prefix = write(tmp_path / 'a')
  (tmp_path / 'a.bin').unlink()
  with pytest.raises(FileNotFoundError, match='a.bin does not exist'):
    megatron_file.MegatronFile(prefix)


EOS = 9
ENDED = [[[1, 2, EOS]], [[EOS]], [[3, 4, 5, EOS]]]


@pytest.mark.parametrize(
    ('dtype', 'in_index'), [('uint16', 'uint16'), ('uint32', 'int32')]
)
def test_an_index_that_is_made_is_what_the_format_says(
    dtype, in_index, tmp_path
):
  write(tmp_path / 'a', ENDED, in_index)
  tokens = megatron_file.mapped(tmp_path / 'a.bin', dtype)
  megatron_file.write_index(tmp_path / 'b.idx', tokens, EOS)
  made = (tmp_path / 'b.idx').read_bytes()
  assert made == (tmp_path / 'a.idx').read_bytes()


@pytest.mark.parametrize('block', [1, 3, 4])
def test_an_index_is_made_block_by_block(block, tmp_path, monkeypatch):
  write(tmp_path / 'a', ENDED)
  tokens = megatron_file.mapped(tmp_path / 'a.bin', 'uint16')
  monkeypatch.setattr(megatron_file, '_BLOCK', block)
  megatron_file.write_index(tmp_path / 'b.idx', tokens, EOS)
  made = (tmp_path / 'b.idx').read_bytes()
  assert made == (tmp_path / 'a.idx').read_bytes()


def test_a_document_longer_than_a_sequence_may_be_has_several(
    tmp_path, monkeypatch
):
  monkeypatch.setattr(megatron_file, '_LONGEST', 3)
  tokens = np.array([1, EOS, 1, 2, 3, 4, 5, EOS, 1, EOS], 'uint16')
  (tmp_path / 'a.bin').write_bytes(tokens.tobytes())
  megatron_file.write_index(tmp_path / 'a.idx', tokens, EOS)
  file = megatron_file.MegatronFile(str(tmp_path / 'a'))
  assert [file.end(i) for i in range(file.num_documents())] == [2, 8, 10]
  assert len(file._sizes) > 3 and max(file._sizes) <= 3
