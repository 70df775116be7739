import numpy as np
import pytest

from jrt_jax.data import bigrams
from jrt_jax.data import recallable_tokens
from jrt_jax.data import streams
from jrt_jax.evaluation import slices

L, RARE = 100, 10

# Pairs (100 + i, 200 + i): how often training has them, where their second
# tokens stand in a window, and whether the last of these is a hit.
PLANTED = [
    (0, [3, 10], True),  # 7 back
    (1, [15, 66], True),  # 51
    (9, [21, 33], True),  # 12
    (10, [36, 43], False),  # too common
    (4, [47, 54, 85], True),  # 31 since the last time
    (2, [58], False),  # once only
]


@pytest.fixture(scope='module')
def planted():
  """A window of common pairs and planted ones, and counts from a stream."""
  filler = np.arange(L + 1) % 10
  training = [np.arange(3000) % 10]
  for i, (count, places, _) in enumerate(PLANTED):
    for place in places:
      filler[place - 1 : place + 1] = 100 + i, 200 + i
    training += [np.array([100 + i, 200 + i, 999])] * count
  windows = np.stack([filler, np.arange(L + 1) % 10])
  stream = streams.in_memory(np.concatenate(training).astype(np.uint16))
  return windows, bigrams.count(stream, recallable_tokens.pairs(windows))


@pytest.fixture(scope='module')
def families(planted):
  windows, counts = planted
  distances = recallable_tokens.distances(windows)
  return slices.families(distances, counts, rare=RARE, far=40)


def labels(windows, family, what):
  """Where the labels of a slice stand in their windows."""
  (i,) = (k for k, x in enumerate(family.slices) if str(x) == what)
  rows, positions = np.nonzero(family.member == i)
  assert not rows.any()  # of the first window
  return (positions + 1).tolist()


def test_hits_are_the_planted_pairs_that_are_rare_and_come_again(
    planted, families
):
  windows, _ = planted
  hits = labels(windows, families['recall'], 'recall hits')
  assert hits == [10, 33, 54, 66, 85]


@pytest.mark.parametrize(
    ('low', 'high', 'expected'),
    [(4, 7, [10, 54]), (8, 15, [33]), (16, 31, [85]), (32, 63, [66])],
)
def test_hits_lie_in_the_slice_of_their_distance(
    planted, families, low, high, expected
):
  name = f'recall hits, {low}–{high} tokens back'
  assert labels(planted[0], families['distance'], name) == expected


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('repeated from 40 on, 1–9 times in training', [66]),
        ('repeated within 40, 0 times in training', [10]),
        ('repeated within 40, 1–9 times in training', [33, 54, 85]),
        ('repeated within 40, 10–99 times in training', [43]),
        ('not repeated, 1–9 times in training', [15, 21, 47, 58]),
        ('not repeated, 10–99 times in training', [36]),
    ],
)
def test_pairs_lie_in_the_slice_of_their_count(
    planted, families, name, expected
):
  assert labels(planted[0], families['count'], name) == expected


def test_slices_add_up_to_the_whole(families):
  nll = np.random.default_rng(0).random((2, L))
  sums = {name: slices.sums(x, nll).sum(axis=0) for name, x in families.items()}
  np.testing.assert_allclose(sums['recall'], nll.sum(axis=1))
  np.testing.assert_allclose(sums['count'], nll.sum(axis=1))
  hits = slices.sums(families['recall'], nll)[0]
  np.testing.assert_allclose(sums['distance'], hits)
  assert hits[0] > 0


def test_linearised_values_vary_as_the_mean_over_labels_does():
  rng = np.random.default_rng(0)
  counts = rng.poisson(3, 200)
  totals = rng.gamma(counts + 1e-9, 1 + counts / 9)
  values = slices.linearised(totals, counts)
  assert values.mean() == pytest.approx(totals.sum() / counts.sum())
  drawn = rng.integers(200, size=(5000, 200))
  ratios = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
  assert values.std() / 200**0.5 == pytest.approx(ratios.std(), rel=0.05)
  some = counts > 0  # the other windows change nothing
  fewer = slices.linearised(totals[some], counts[some])
  error = fewer.std() / some.sum() ** 0.5
  assert error == pytest.approx(values.std() / 200**0.5)
