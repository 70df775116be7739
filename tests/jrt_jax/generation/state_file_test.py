import pickle

import jax
import numpy as np
import pytest

from jrt_jax.generation import reading
from jrt_jax.generation.pieces import Piece
from jrt_jax.generation import state_file

MIXERS = 'conv', 'pla', 'attention'


@pytest.fixture(scope='module')
def small(make_model):
  return make_model(MIXERS)


def read_with(model):
  tokens = np.arange(10, dtype=np.int32)
  return reading.read(model, [[Piece(tokens[:n], False)] for n in (3, 7)])


@pytest.fixture(scope='module')
def read(small):
  return read_with(small)


@pytest.fixture
def path(tmp_path, small, read):
  path = tmp_path / 'memory.npz'
  state_file.save(path, small, read)
  return path


def assert_equal(actual, expected):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def test_what_is_loaded_is_what_was_saved(path, small, read):
  assert_equal(state_file.load(path, small), read)
  assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_bfloat16_is_kept_exactly(tmp_path, make_model):
  model = make_model(MIXERS, dtype='bfloat16')
  read = read_with(model)
  assert 'bfloat16' in {str(x.dtype) for x in jax.tree.leaves(read)}
  state_file.save(tmp_path / 'a', model, read)
  assert_equal(state_file.load(tmp_path / 'a', model), read)


def test_how_a_model_is_computed_does_not_matter(path, make_model, read):
  other = make_model(MIXERS, remat='full')
  assert_equal(state_file.load(path, other), read)


@pytest.mark.parametrize('overrides', [{'rope_base': 5.0}, {'init_std': 0.2}])
def test_the_memory_of_another_model_is_refused(path, make_model, overrides):
  other = make_model(MIXERS, **overrides)
  with pytest.raises(ValueError, match='must be of this model .* got that of'):
    state_file.load(path, other)


def test_a_damaged_file_is_refused_in_one_line(path, small):
  content = path.read_bytes()
  middle = len(content) // 2
  flipped = bytes([content[middle] ^ 1])
  for damaged in (
      b'',
      content[:middle],
      content[:middle] + flipped + content[middle + 1 :],
      b'text',
      pickle.dumps([1]),
  ):
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match='is damaged, or not') as error:
      state_file.load(path, small)
    assert '\n' not in str(error.value)


def test_code_in_a_file_is_not_run(path, small, tmp_path):
  class Code:

    def __reduce__(self):
      return (tmp_path / 'ran').touch, ()

  np.savez(path, meta=np.array([Code()], dtype=object))
  with pytest.raises(ValueError, match='is damaged, or not'):
    state_file.load(path, small)
  assert not (tmp_path / 'ran').exists()


def test_a_missing_file_is_named(tmp_path, small):
  with pytest.raises(FileNotFoundError, match='no.npz'):
    state_file.load(tmp_path / 'no.npz', small)
