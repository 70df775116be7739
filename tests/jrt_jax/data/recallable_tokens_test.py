import numpy as np
import pytest

from jrt_jax.data import recallable_tokens


def by_hand(windows, segment_ids):
  """The definition, position by position."""
  texts = {}
  for row, (window, segments) in enumerate(zip(windows, segment_ids)):
    for t, segment in enumerate(segments):
      text = texts.setdefault((row, segment), [])
      text.append((row, t, (window[t], window[t + 1])))
  texts = list(texts.values())
  result = np.zeros(segment_ids.shape, bool)
  for text in texts:
    seen = set()
    for row, t, pair in text:
      having = sum(any(pair == p for *_, p in other) for other in texts)
      is_rare = having <= max(recallable_tokens.COMMON * len(texts), 1)
      result[row, t] = pair in seen and is_rare
      seen.add(pair)
  return result


def test_a_name_is_recalled_from_its_second_occurrence_on():
  filler = np.random.default_rng(0).permutation(1000)[:17]
  window = np.concatenate([filler[:5], [7001, 7002], filler[5:]])
  window = np.concatenate([window, [7001, 7002, 7001, 7002]])
  mask = recallable_tokens.recallable(window[None])
  # Twice 7002 after 7001; 7001 after 7002 for the first time only.
  np.testing.assert_array_equal(window[1:][mask[0]], [7002, 7002])
  np.testing.assert_array_equal(np.flatnonzero(mask), [19, 21])


def test_a_pair_that_most_texts_have_is_no_recall():
  windows = np.arange(20 * 100).reshape(20, 100)
  windows[:, 10:12] = windows[:, 50:52] = 5000, 5001  # in all of them
  windows[:2, 20:22] = windows[:2, 60:62] = 6000, 6001  # in a tenth
  windows[:3, 30:32] = windows[:3, 70:72] = 7000, 7001  # in more than that
  mask = recallable_tokens.recallable(windows)
  np.testing.assert_array_equal(np.argwhere(mask), [[0, 60], [1, 60]])


def test_a_run_of_one_token_recalls_itself():
  mask = recallable_tokens.recallable(np.array([[1, 3, 3, 3, 2]]))
  np.testing.assert_array_equal(mask, [[False, False, True, False]])


@pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.uint32])
@pytest.mark.parametrize('with_segments', [False, True])
def test_it_is_what_the_definition_says(dtype, with_segments):
  rng = np.random.default_rng(0)
  windows = rng.integers(25, size=(25, 31)).astype(dtype)
  segment_ids = np.zeros((25, 30), int)
  if with_segments:
    segment_ids = np.cumsum(rng.random((25, 30)) < 0.2, axis=1)
    segment_ids -= segment_ids[:, :1]
  mask = recallable_tokens.recallable(
      windows, segment_ids if with_segments else None
  )
  expected = by_hand(windows, segment_ids)
  assert expected.any()
  np.testing.assert_array_equal(mask, expected)
  assert mask.dtype == bool


@pytest.mark.parametrize('with_segments', [False, True])
def test_distances_are_to_the_last_time_in_the_same_text(with_segments):
  rng = np.random.default_rng(1)
  windows = rng.integers(4, size=(7, 41)).astype(np.uint16)
  segment_ids = np.zeros((7, 40), int)
  if with_segments:
    segment_ids = np.cumsum(rng.random((7, 40)) < 0.1, axis=1)
  found = recallable_tokens.distances(
      windows, segment_ids if with_segments else None
  )
  for window, segments, row in zip(windows, segment_ids, found):
    last = {}
    for t, segment in enumerate(segments):
      key = segment, window[t], window[t + 1]
      assert row[t] == t - last.get(key, t)
      last[key] = t
  assert (found > 9).any() and (found == 0).any()
