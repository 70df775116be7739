import json
import pickle

import jax
import numpy as np
import pytest

from jrt_jax.generation import prefill
from jrt_jax.generation import state_file
from jrt_jax.generation.prompt_segments import Segment
from jrt_jax.training import recorded_config

MIXERS = 'conv', 'pla', 'attention'


@pytest.fixture(scope='module')
def small(make_model):
  return make_model(MIXERS)


def read_with(model):
  tokens = np.arange(10, dtype=np.int32)
  return prefill.prefill(model, [[Segment(tokens[:n], False)] for n in (3, 7)])


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
def test_sinks_are_kept_and_another_number_of_them_is_another_model(
    tmp_path, make_model
):
  model = make_model(('swa',), window=2, sinks=3)
  read = read_with(model)
  assert read.states[0].k.shape[1] == 5
  state_file.save(tmp_path / 'a', model, read)
  assert_equal(state_file.load(tmp_path / 'a', model), read)
  with pytest.raises(ValueError, match='must be of this model'):
    state_file.load(tmp_path / 'a', make_model(('swa',), window=3, sinks=2))
  # Memories of earlier versions, which had no such key, stay valid.
  without = make_model(('swa',), window=2).config['model']
  assert 'sinks' not in recorded_config.model_changes(without)


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
    with pytest.raises(ValueError, match='must be an intact .npz') as error:
      state_file.load(path, small)
    assert '\n' not in str(error.value)


def rewritten(path, changes, **meta):
  """Changes arrays and values of `meta`; None removes an array."""
  with np.load(path) as file:
    arrays = dict(file)
  meta = json.loads(str(arrays['meta'])) | meta
  arrays |= {'meta': np.array(json.dumps(meta))} | changes
  np.savez(path, **{k: x for k, x in arrays.items() if x is not None})


@pytest.mark.parametrize(
    ('changes', 'meta', 'message'),
    [
        ({}, {'rows': 3}, r'logits must have shape \(3, .*\), got \(2, '),
        ({}, {'rows': -1}, 'meta: rows must be a whole number from 1'),
        ({}, {'rows': '2'}, "meta: rows must be a whole number .*, got '2'"),
        ({}, {'rows': 10**6}, r'logits must have shape \(1000000, '),
        ({}, {'slots': None}, 'slots must fit the model, got None'),
        ({}, {'slots': 7}, r'must have shape \(2, 7, '),
        ({}, {'slots': 10**9}, 'meta: slots must be None or a whole number'),
        ({'position': None}, {}, 'position must be given, it is missing'),
        (
            {'position': np.array([3, -7])},
            {},
            r'position must be within \[0, 2,147',
        ),
        (
            {'position': np.array([3, 2**40])},
            {},
            r'position must be within \[0, 2,147',
        ),
        ({'position': np.array([3.0, 7.0])}, {}, 'position must be int, got f'),
        ({'prefix': np.array([3, 8])}, {}, 'prefix must not exceed position'),
        (
            {'logits': np.full((2, 257), 'a')},
            {},
            'logits must be float, got <U',
        ),
        ({'logits': np.full((2, 257), np.nan)}, {}, 'logits must be finite'),
        ({'logits': np.full((2, 257), 1e300)}, {}, 'logits must be finite'),
        ({'meta': np.array('[' * 10**5)}, {}, 'meta must be JSON'),
        ({'meta': np.array(1)}, {}, 'meta must be text, got int64'),
    ],
)
def test_what_no_model_can_have_read_is_refused(
    path, small, changes, meta, message
):
  rewritten(path, changes, **meta)
  with pytest.raises(ValueError, match=f'memory.npz.*{message}') as error:
    state_file.load(path, small)
  assert '\n' not in str(error.value)


def test_code_in_a_file_is_not_run(path, small, tmp_path):
  class Code:

    def __reduce__(self):
      return (tmp_path / 'ran').touch, ()

  np.savez(path, meta=np.array([Code()], dtype=object))
  with pytest.raises(ValueError, match='must be an intact .npz'):
    state_file.load(path, small)
  assert not (tmp_path / 'ran').exists()


def test_a_missing_file_is_named(tmp_path, small):
  with pytest.raises(FileNotFoundError, match='no.npz'):
    state_file.load(tmp_path / 'no.npz', small)
