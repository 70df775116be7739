"""Capacity: what the states of feature maps hold, and why some hold little."""

import numpy as np
import pytest

from jrt_jax.evaluation.synthetic import capacity


@pytest.fixture(scope='module')
def pairs():
  return capacity.draw(np.random.default_rng(0), 6, 128)


def recalled(pairs, name, *, scale=1.0):
  phi = capacity.features(pairs.keys, name, seed=0, scale=scale)
  return capacity.recalled(phi, pairs.values, pairs.values)


def test_orthogonal_features_recall_all(pairs):
  phi = np.tile(np.eye(128), (6, 1, 1))
  assert capacity.recalled(phi, pairs.values, pairs.values) == 1


def test_values_of_others_are_recalled_by_chance(pairs):
  phi = np.tile(np.eye(128), (6, 1, 1))
  others = np.roll(pairs.values, 1, axis=0)
  assert capacity.recalled(phi, others, pairs.values) < 0.05


def test_squares_hold_more_than_the_taylor_series_of_the_same_keys(pairs):
  power = recalled(pairs, 'symmetric_power')
  assert power > recalled(pairs, 'taylor_exp') + 0.04
  assert power > recalled(pairs, 'linear') + 0.2


def test_the_taylor_series_needs_large_keys(pairs):
  assert recalled(pairs, 'taylor_exp') > 0.5 + recalled(
      pairs, 'taylor_exp', scale=0.5
  )


def test_a_positive_map_collapses_to_its_mean(pairs):
  phi = capacity.features(pairs.keys, 'elu_plus_one', seed=0)
  centred = phi - phi.mean(axis=1, keepdims=True)
  collapsed, recovered = (
      capacity.recalled(x, pairs.values, pairs.values) for x in (phi, centred)
  )
  assert recovered > collapsed + 0.3


def test_reading_twice_changes_nothing_but_the_sums(pairs):
  some = capacity.Pairs(pairs.keys[:2, :8], pairs.values[:2, :8])
  normalized, sums = capacity.change_by_repetition(some)
  assert normalized < 1e-5
  assert sums == pytest.approx(1, abs=1e-5)
