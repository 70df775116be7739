import numpy as np
import pytest

from configs import synthetic
from jrt_jax.data import documents_in_prefix
from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.data.objectives import UNSUPERVISED


def divided(prefix_len, most, seed=0, length=16):
  example = {
      'tokens': np.arange(length),
      'targets': np.arange(1, length + 1),
      'supervision': np.full(length, NEXT_TOKEN),
      'prefix_len': np.int32(prefix_len),
  }
  example['supervision'][: max(prefix_len - 1, 0)] = MASKED_TOKEN
  rng = np.random.default_rng(seed)
  return documents_in_prefix.divide(example, most, rng)


def test_a_prefix_is_one_to_most_documents_of_nearly_equal_even_lengths():
  drawn = [divided(14, 3, seed)['prefix_len'].tolist() for seed in range(30)]
  expected = [[14, 0, 0], [6, 8, 0], [4, 4, 6]]
  assert sorted({*map(tuple, drawn)}) == sorted(map(tuple, expected))


@pytest.mark.parametrize('prefix_len', range(17))
def test_documents_make_up_a_prefix_of_any_length(prefix_len):
  for seed in range(8):
    lengths = divided(prefix_len, 4, seed)['prefix_len']
    assert lengths.dtype == np.int32 and lengths.shape == (4,)
    assert lengths.sum() == prefix_len and (lengths >= 0).all()
    for i in np.flatnonzero(lengths % 2):  # only the last one may be odd
      assert not lengths[i + 1 :].any()


def test_the_last_token_of_a_prefix_does_not_predict_the_text_after_it():
  example, whole = divided(6, 2), divided(6, 0)
  assert whole['prefix_len'].shape == () and whole['supervision'][5]
  assert example['supervision'][5] == UNSUPERVISED
  assert example['targets'][5] == 0
  for name in ('tokens', 'targets', 'supervision'):
    same = np.delete(example[name], 5) == np.delete(whole[name], 5)
    assert same.all(), name


def test_without_a_prefix_every_label_stays():
  example = divided(0, 2)
  assert example['prefix_len'].tolist() == [0, 0]
  assert (example['supervision'] == NEXT_TOKEN).all()


def check(**changes):
  config = synthetic.get_config('mqar')
  config.data.documents_in_prefix = 3
  config.update_from_flattened_dict(
      {key.replace('__', '.'): value for key, value in changes.items()}
  )
  documents_in_prefix.check(config.to_dict())


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'data__documents_in_prefix': 16},
        {'data__documents_in_prefix': 0, 'model__mixers': ('prefix_gdn',)},
        {'data__source': 'text', 'prefix__name': 'uniform'},
    ],
)
def test_what_fits_is_accepted(changes):
  check(**changes)


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            {'data__packing': 'prefixed_documents'},
            "packing must be 'concat' with config.data.documents_in_prefix=3,"
            " got 'prefixed_documents'",
        ),
        (
            {'model__mixers': ('pla', 'prefix_gdn')},
            'must have pla, and no other .*=3, got pla, prefix_gdn$',
        ),
        ({'model__mixers': ('conv', 'la')}, 'must have pla, .* got none$'),
        ({'data__documents_in_prefix': 17}, 'must be at most 16, .* got 17$'),
        (
            {'prefix__name': 'none'},
            "prefix.name='none' leaves no prefix with .*=3$",
        ),
        (
            {'data__source': 'text'},
            "prefix.name='full' leaves no next token to predict with",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
  with pytest.raises(ValueError, match=message) as error:
    check(**changes)
  assert '\n' not in str(error.value)
