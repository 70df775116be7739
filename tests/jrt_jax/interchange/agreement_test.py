import math

import jax
import numpy as np
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.interchange import agreement

B, L, V = 2, 6, 20


@pytest.fixture(scope='module')
def model(tiny_config):
  """The config of a run, and params."""
  model = tiny_config(mixers=('pla',), pad_mask='reference')
  config = base.get_config().to_dict() | {'model': model, 'sequence_length': 8}
  return config, models.split(models.build(model))[1]


@pytest.fixture(scope='module')
def arrays(model):
  """Token ids, and the logits of the model with its prefix of 4 tokens."""
  config, params = model
  merge, _ = models.abstract(config['model'])
  ids = np.random.default_rng(0).integers(V, size=(B, L))
  prefix_len = np.full(B, 4, np.int32)
  logits = jax.jit(
      lambda params: merge(params)(
          ids, prefix_len=prefix_len, prefix_capacity=4
      )
  )(params)
  return {'input_ids': ids, 'logits_parallel': np.asarray(logits)}


@pytest.fixture
def difference(model, arrays, tmp_path):
  """A function that returns the difference to `arrays` with changes."""

  def compare(**changes):
    arrays_ = {n: x for n, x in (arrays | changes).items() if x is not None}
    np.savez(tmp_path / 'a.npz', **arrays_)
    return agreement.max_difference(*model, tmp_path / 'a.npz')

  return compare


def test_a_model_agrees_with_itself(difference):
  assert difference() < 1e-5


def test_the_largest_difference_is_returned(difference, arrays):
  logits = arrays['logits_parallel'].copy()
  logits[1, 3, 5] += 2
  logits[0, 0, 0] -= 1
  assert difference(logits_parallel=logits) == pytest.approx(2, abs=1e-4)


def test_logits_that_are_nan_are_found_in_any_row(difference, arrays):
  logits = arrays['logits_parallel'].copy()
  logits[0, 3, 5] = np.nan
  assert math.isnan(difference(logits_parallel=logits))


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            {'logits_parallel': None},
            'logits_parallel must be given, it is missing',
        ),
        ({'input_ids': np.ones(L, int)}, r'must have shape \(\*, \*\), got'),
        ({'input_ids': np.ones((B, L))}, 'must be int or uint, got float64'),
        ({'input_ids': np.ones((0, L), int)}, 'input_ids must not be empty'),
        ({'input_ids': np.full((B, L), V)}, 'below 20, got 20 to 20'),
        ({'input_ids': np.full((B, L), -1)}, 'at least 0 and below 20, got -1'),
        ({'logits_parallel': np.ones((B, L, 9))}, r'shape \(2, 6, 20\), got'),
    ],
)
def test_arrays_that_do_not_fit_are_a_clear_error(changes, message, difference):
  with pytest.raises(ValueError, match=message):
    difference(**changes)


@pytest.mark.parametrize('content', [b'', b'x' * 100, b'PK\x03\x04', b'npy'])
def test_a_damaged_file_is_a_clear_error(content, model, tmp_path):
  if content == b'npy':
    np.save(tmp_path / 'a.npy', np.ones(2))
    content = (tmp_path / 'a.npy').read_bytes()
  (tmp_path / 'a.npz').write_bytes(content)
  with pytest.raises(ValueError, match='a.npz must be an intact .npz file'):
    agreement.max_difference(*model, tmp_path / 'a.npz')


def test_a_missing_file_is_an_os_error(model, tmp_path):
  with pytest.raises(FileNotFoundError):
    agreement.max_difference(*model, tmp_path / 'a.npz')
