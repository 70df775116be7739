import numpy as np
import pytest

from jrt_jax.data import objectives
from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.data.objectives import UNSUPERVISED

MASK = 100
SOUND = {'mask_rate': 0.15, 'boundary': 'predict', 'token_zero': 'predict'}
REFERENCE = SOUND | {'boundary': 'reference', 'token_zero': 'reference'}


class Draws:
  """Stands in for a Generator whose coin shows heads where it is told."""

  def __init__(self, masked):
    self.masked = masked

  def random(self, n):
    return np.array([0.0 if i in self.masked else 0.99 for i in range(n)])


def make(name, window, prefix_len, masked=(), settings=SOUND):
  return objectives.OBJECTIVES[name].make(
      np.array(window, np.uint16),
      prefix_len,
      objective=settings | {'name': name},
      mask_id=MASK,
      rng=Draws(masked),
  )


def labels(example):
  """What is predicted at each position, None where nothing is."""
  return [
      int(target) if supervision else None
      for target, supervision in zip(example['targets'], example['supervision'])
  ]


def test_next_token_predicts_at_every_position():
  example = make('next_token', [5, 0, 7, 3], 0)
  assert example['tokens'].tolist() == [5, 0, 7]
  assert example['targets'].tolist() == [0, 7, 3]
  assert example['supervision'].tolist() == [NEXT_TOKEN] * 3


@pytest.mark.parametrize(
    ('settings', 'prefix_len', 'expected'),
    [
        (SOUND, 0, [6, 7, 8, 9]),
        (SOUND, 1, [6, 7, 8, 9]),
        (SOUND, 3, [None, None, 8, 9]),
        (SOUND, 4, [None, None, None, 9]),
        (REFERENCE, 0, [6, 7, 8, 9]),
        (REFERENCE, 3, [None, None, None, 9]),
        (REFERENCE, 4, [None, None, None, None]),
    ],
)
def test_prefix_lm_predicts_what_follows_the_prefix(
    settings, prefix_len, expected
):
  example = make('prefix_lm', [5, 6, 7, 8, 9], prefix_len, {0}, settings)
  assert labels(example) == expected
  assert example['tokens'].tolist() == [5, 6, 7, 8]
  assert example['targets'][: expected.count(None)].sum() == 0


def test_jrt_predicts_masked_tokens_in_place():
  example = make('jrt', [5, 0, 7, 8, 9, 4], 4, masked={0, 1, 3})
  # Position 3 is the last of the prefix: it predicts, so it stays readable.
  assert example['tokens'].tolist() == [MASK, MASK, 7, 8, 9]
  assert labels(example) == [5, 0, None, 9, 4]
  assert example['supervision'].tolist() == [
      MASKED_TOKEN,
      MASKED_TOKEN,
      UNSUPERVISED,
      NEXT_TOKEN,
      NEXT_TOKEN,
  ]
  assert example['prefix_len'] == 4


def test_jrt_reference_masks_the_boundary_and_drops_label_zero():
  example = make('jrt', [5, 0, 7, 8, 9, 4], 4, {0, 1, 3}, REFERENCE)
  assert example['tokens'].tolist() == [MASK, MASK, 7, MASK, 9]
  assert labels(example) == [5, None, None, 8, 4]


def test_jrt_reference_equals_the_official_data_maker():
  # Made by the official code: 40 tokens with a prefix of 16, here to the 20th.
  window = [24, 93, 85, 68, 44, 3, 24, 41, 6, 19]
  window += [61, 64, 85, 10, 35, 35, 84, 14, 6, 58, 87]
  inputs = [100, 93, 100, 100, 44, 3, 24, 100, 100, 100]
  inputs += [100, 100, 85, 100, 100, 35, 84, 14, 6, 58]
  expected = [24, None, 85, 68, None, None, None, 41, 6, 19]
  expected += [61, 64, None, 10, 35, None, 14, 6, 58, 87]
  masked = {i for i, token in enumerate(inputs) if token == MASK}
  example = make('jrt', window, 16, masked, REFERENCE)
  assert example['tokens'].tolist() == inputs
  assert labels(example) == expected


@pytest.mark.parametrize('settings', [SOUND, REFERENCE])
def test_jrt_masks_the_prefix_at_the_given_rate(settings):
  window = np.arange(1, 20_002)
  example = objectives.jrt(
      window,
      10_000,
      objective=settings,
      mask_id=0,
      rng=np.random.default_rng(0),
  )
  masked = example['tokens'] == 0
  assert abs(masked[:10_000].mean() - 0.15) < 0.015  # four standard deviations
  assert not masked[10_000:].any()
  assert (example['supervision'][masked] == MASKED_TOKEN).all()


@pytest.mark.parametrize('settings', [SOUND, REFERENCE])
def test_jrt_without_a_prefix_is_next_token(settings):
  window = [5, 6, 7, 8]
  actual = make('jrt', window, 0, {0, 1, 2}, settings)
  np.testing.assert_equal(actual, make('next_token', window, 0))


@pytest.mark.parametrize('name', objectives.OBJECTIVES)
def test_examples_have_the_types_that_the_model_reads(name):
  example = make(name, [5, 6, 7, 8], 0)
  assert {key: value.dtype.name for key, value in example.items()} == {
      'tokens': 'int32',
      'targets': 'int32',
      'supervision': 'int8',
      'prefix_len': 'int32',
  }


@pytest.mark.parametrize('name, capacity', [('full', 0.5), ('fixed', 1.0)])
def test_a_prefix_of_everything_needs_the_label_at_its_boundary(name, capacity):
  prefix = {'name': name, 'capacity': capacity}
  objectives.check(SOUND | {'name': 'jrt'}, prefix, 16)
  reference = SOUND | {'name': 'jrt', 'boundary': 'reference'}
  objectives.check(reference, {'name': 'fixed', 'capacity': 0.9}, 16)
  with pytest.raises(ValueError, match="no next token .* use 'predict'"):
    objectives.check(reference, prefix, 16)


def test_next_token_goes_without_a_prefix():
  next_token = SOUND | {'name': 'next_token'}
  objectives.check(next_token, {'name': 'none', 'capacity': 0.5}, 16)
  with pytest.raises(ValueError, match="prefix.name='none', got 'fixed'"):
    objectives.check(next_token, {'name': 'fixed', 'capacity': 0.5}, 16)
