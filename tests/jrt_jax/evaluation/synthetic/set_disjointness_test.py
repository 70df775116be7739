"""Set disjointness: the order of sets decides what a state must hold."""

import numpy as np
import pytest

from jrt_jax.evaluation.synthetic import set_disjointness


@pytest.fixture(scope='module')
def rng():
  return np.random.default_rng(0)


def test_two_sets_share_the_answer_only(rng):
  a, b, answer = set_disjointness.draw(rng, 20, (5, 30))
  for i in range(20):
    assert len({*a[i]}) == 5 and len({*b[i]}) == 30
    assert {*a[i]} & {*b[i]} == {answer[i]}
  assert min(a.min(), b.min()) >= 4


def test_neither_ids_nor_places_give_the_answer_away(rng):
  a, b, answer = set_disjointness.draw(rng, 300, (8, 8))
  ids = np.array([a.mean(), b.mean(), answer.mean()])
  middle = set_disjointness.VOCABULARY / 2
  np.testing.assert_allclose(ids, middle, rtol=0.1)
  for sets in (a, b):
    places = (sets == answer[:, None]).argmax(axis=1)
    assert (np.bincount(places, minlength=8) > 15).all()


def test_features_that_are_orthogonal_find_every_answer(rng):
  examples = set_disjointness.draw(rng, 20, (64, 256))
  phi = np.eye(set_disjointness.VOCABULARY, dtype=np.float32)
  assert set_disjointness.accuracy(phi, examples) == 1


def test_a_causal_state_fails_where_the_large_set_is_first(rng):
  phi = set_disjointness.features(rng, 64)
  small, large = (
      set_disjointness.draw(rng, 100, sizes) for sizes in ((4, 256), (256, 4))
  )
  small_first = set_disjointness.accuracy(phi, small)
  large_first = set_disjointness.accuracy(phi, large)
  non_causal = set_disjointness.accuracy(phi, large.smaller_first())
  assert small_first > large_first + 0.3
  assert non_causal > large_first + 0.3


def test_the_state_of_another_example_is_of_no_use(rng):
  phi = set_disjointness.features(rng, 512)
  examples = set_disjointness.draw(rng, 100, (4, 64))
  others = examples._replace(a=np.roll(examples.a, 1, axis=0))
  assert set_disjointness.accuracy(phi, examples) > 0.95
  assert set_disjointness.accuracy(phi, others) < 0.1


def test_the_width_that_suffices_grows_with_the_set_that_is_stored(rng):
  widths = [
      set_disjointness.smallest_width(
          rng, set_disjointness.draw(rng, 100, sizes)
      )
      for sizes in ((2, 32), (32, 32))
  ]
  assert widths[1] >= 4 * widths[0]
