"""Lengths meet static shapes: few compilations, the same outputs."""

import functools

from hypothesis import given
from hypothesis import strategies as st
import jax
import numpy as np
import pytest

from jrt_jax.prefix import buckets
from pallas_kernels import prefix_linear_attention
from pallas_kernels.prefix_linear_attention.chunked import CHUNK

L = 32
BUCKETS = buckets.capacities(L, 3)


@functools.partial(jax.jit, static_argnames='capacity')
def compiled(xs, lengths, *, capacity):
  """The operation on a prefix for which there is room for `capacity`."""
  q, k, v, k_enc, v_enc = xs
  prefix = k_enc[:, :capacity], v_enc[:, :capacity], lengths
  if not capacity:
    prefix = ()
  return prefix_linear_attention(q, k, v, *prefix, implementation='chunked')


@pytest.fixture(scope='module')
def xs():
  keys = jax.random.split(jax.random.key(0), 5)
  return [jax.random.normal(key, (8, L, 1, 4)) for key in keys]


@given(st.integers(1, 4096), st.integers(2, 8))
def test_capacities_are_few_and_reach_the_longest(longest, count):
  sizes = buckets.capacities(longest, count)
  assert 2 <= len(sizes) <= count
  assert sizes[0] == 0 and sizes[-1] == longest
  assert list(sizes) == sorted(set(sizes))


@given(st.lists(st.integers(0, L)))
def test_each_row_is_in_the_smallest_bucket_that_fits(lengths):
  groups = buckets.group(np.array(lengths, int), BUCKETS)
  for capacity, rows in groups.items():
    for row in rows:
      assert capacity == min(b for b in BUCKETS if b >= lengths[row])
  rows = [row for group in groups.values() for row in group]
  assert sorted(rows) == list(range(len(lengths)))


def test_a_prefix_longer_than_all_buckets_is_refused():
  with pytest.raises(ValueError, match='largest bucket, 32, got 33'):
    buckets.group(np.array([1, 33]), BUCKETS)


def test_a_mask_and_buckets_give_the_same_outputs(xs):
  lengths = np.array([0, 1, 7, 8, 15, 16, 20, 32])
  masked = compiled(xs, lengths, capacity=L)
  groups = buckets.group(lengths, BUCKETS)
  assert len(groups) == len(BUCKETS)
  for capacity, rows in groups.items():
    # All rows, so that each capacity is compiled for one shape.
    cut = compiled(xs, np.minimum(lengths, capacity), capacity=capacity)
    np.testing.assert_allclose(cut[rows], masked[rows], atol=1e-5)


def test_compilations_do_not_grow_with_the_lengths(xs):
  before = compiled._cache_size()
  for length in range(L + 1):
    compiled(xs, np.full(8, length), capacity=L)
  assert compiled._cache_size() <= before + 1  # a mask needs one for all
  for length in range(L + 1):
    (capacity,) = buckets.group(np.full(8, length), BUCKETS)
    compiled(xs, np.full(8, length), capacity=capacity)
  assert compiled._cache_size() == len(BUCKETS)


def test_chunks_that_no_prefix_reaches_are_skipped_in_one_compilation():
  long = 2 * CHUNK + 1  # three chunks, of which two are read
  keys = jax.random.split(jax.random.key(0), 5)
  q, k, v, k_enc, v_enc = (
      jax.random.normal(key, (3, long, 1, 2)) for key in keys
  )
  unread = np.arange(long)[:, None, None] >= 2 * CHUNK
  skip = jax.jit(
      functools.partial(prefix_linear_attention, implementation='chunked')
  )
  mask = jax.jit(
      functools.partial(prefix_linear_attention, implementation='reference')
  )
  for lengths in ([0, 5, CHUNK + 1], [CHUNK, 2 * CHUNK, 0]):
    lengths = np.array(lengths, np.int32)
    poisoned = [np.where(unread, np.nan, x) for x in (k_enc, v_enc)]
    skipped = skip(q, k, v, *poisoned, lengths)
    masked = mask(q, k, v, k_enc, v_enc, lengths)
    np.testing.assert_allclose(skipped, masked, atol=1e-5)
  assert skip._cache_size() == mask._cache_size() == 1
