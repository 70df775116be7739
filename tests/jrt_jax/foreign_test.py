import io
import json
import zipfile

import numpy as np
import pytest

from jrt_jax import foreign
from jrt_jax.schema import Fields
from jrt_jax.schema import Whole

SCHEMA = Fields({'steps': Whole(1, 9)})


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'a.npz'


def write_member(path, content, name='x.npy'):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
    file.writestr(name, content)


def npy(array, header=None):
  """The bytes of an .npy, whose header may lie."""
  file = io.BytesIO()
  np.lib.format.write_array_header_1_0(
      file, header or np.lib.format.header_data_from_array_1_0(array)
  )
  return file.getvalue() + array.tobytes()


def test_json_is_what_the_schema_allows(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text('{"steps": 3}')
  assert foreign.read_json(path, SCHEMA) == {'steps': 3}
  path.write_text('{"steps": 0}')
  with pytest.raises(ValueError, match='a.json: steps must be .*, got 0'):
    foreign.read_json(path, SCHEMA)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'Expecting value'),
        (b'\xff', 'codec'),
        (b'[' * 10**5, 'recursion|depth'),
        (b'{"a":' * 10**5, 'recursion|depth'),
        (b'[' * 100 + b']' * 100, 'at most 32 levels of objects and lists'),
        (b'1' * 5000, 'digits'),
    ],
)
def test_json_that_is_none_or_too_deep_is_one_line(tmp_path, content, message):
  path = tmp_path / 'a.json'
  path.write_bytes(content)
  message = f'a.json must be JSON.*({message})'
  with pytest.raises(ValueError, match=message) as error:
    foreign.read_json(path, foreign.OBJECT)
  assert '\n' not in str(error.value)


def test_a_huge_json_file_is_not_read(tmp_path):
  path = tmp_path / 'a.json'
  with open(path, 'wb') as file:
    file.truncate(2**40)
  with pytest.raises(ValueError, match='at most 67,108,864 bytes, got 1,099,5'):
    foreign.read_json(path, SCHEMA)
  with pytest.raises(ValueError, match='at most 9 bytes'):
    foreign.read_json(path, SCHEMA, most=9)


def test_arrays_are_read_by_name(path):
  np.savez_compressed(path, x=np.arange(6).reshape(2, 3), name=np.array('é'))
  file = foreign.Npz(path)
  assert file.shapes == {'x': (2, 3), 'name': ()}
  np.testing.assert_array_equal(
      file.array('x', (2, None), 'i'), [[0, 1, 2], [3, 4, 5]]
  )
  assert file.text('name') == 'é'
  assert file.array('y', (1,), default=np.ones(1)) == 1


@pytest.mark.parametrize(
    ('name', 'shape', 'kinds', 'message'),
    [
        ('y', (2, 3), 'i', 'y must be given, it is missing'),
        ('x', (2,), 'i', r'x must have shape \(2,\), got \(2, 3\)'),
        ('x', (None, 4), 'i', r'x must have shape \(\*, 4\), got \(2, 3\)'),
        ('x', (2, 3), 'fU', 'x must be float or text, got int64'),
    ],
)
def test_another_array_is_refused(path, name, shape, kinds, message):
  np.savez(path, x=np.arange(6).reshape(2, 3))
  with pytest.raises(ValueError, match=f'a.npz: {message}'):
    foreign.Npz(path).array(name, shape, kinds)


def test_an_array_that_takes_much_more_than_its_file_is_not_read(
    path, monkeypatch
):
  monkeypatch.setattr(foreign, '_MOST_UNPACKED', 10**6)
  np.savez_compressed(path, x=np.zeros(10**6, np.int8))
  with pytest.raises(ValueError, match='it unpacks to 1,000,128 bytes, above'):
    foreign.Npz(path)
  np.savez(path, x=np.zeros(10**6, np.int8))  # as large as its file
  assert foreign.Npz(path).array('x', (None,)).nbytes == 10**6


@pytest.mark.parametrize(
    'header',
    [
        {'descr': '<i8', 'fortran_order': False, 'shape': (10**12,)},
        {'descr': '<i8', 'fortran_order': False, 'shape': (-1, -2)},
        {'descr': '<U0', 'fortran_order': False, 'shape': (10**12,)},
        {'descr': '|O', 'fortran_order': False, 'shape': (2,)},
        {'descr': '|V8', 'fortran_order': False, 'shape': (2,)},
        {'descr': '<c16', 'fortran_order': False, 'shape': (1,)},
    ],
)
def test_a_header_that_lies_or_is_of_no_numbers_is_refused(path, header):
  write_member(path, npy(np.zeros(2), header))
  with pytest.raises(ValueError, match='a.npz must be an intact .npz file: '):
    foreign.Npz(path)


def test_a_text_that_is_too_long_is_refused(path):
  np.savez(path, meta=np.array('a' * 2**21))
  with pytest.raises(ValueError, match='meta must be a shorter text'):
    foreign.Npz(path).text('meta')


def test_a_flipped_bit_is_noticed(path):
  np.savez(path, x=np.arange(1000))
  content = bytearray(path.read_bytes())
  content[4000] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match='intact .npz file: Bad CRC-32'):
    foreign.Npz(path).array('x', (None,))


def test_an_error_of_the_system_stays_one(tmp_path):
  with pytest.raises(FileNotFoundError):
    foreign.Npz(tmp_path / 'no.npz')
  with pytest.raises(FileNotFoundError):
    foreign.read_json(tmp_path / 'no.json', SCHEMA)


def test_json_in_a_text_is_named_by_its_place():
  line = json.dumps({'steps': 10})
  with pytest.raises(ValueError, match='^metrics:3: steps must be .* got 10'):
    foreign.parse_json(line, 'metrics:3', SCHEMA)
