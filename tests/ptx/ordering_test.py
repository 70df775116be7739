"""Which accesses are in order, without any program."""

import numpy as np
import pytest

import ptx
from ptx.ordering import Ordering

BYTES = np.arange(8)[None]
ZERO, ONE = np.array([0]), np.array([1])


@pytest.fixture
def ordering():
  """Of two warps."""
  return Ordering(2, 64)


def hand_over(ordering, giver, taker):
  given = ordering.knowledge()
  ordering.release(giver, given)
  ordering.acquire(taker, given)


def test_a_read_waits_for_the_write(ordering):
  ordering.thread_write(ZERO, BYTES)
  with pytest.raises(
      ptx.Violation, match='warp 0 has written, is read without waiting'
  ):
    ordering.thread_read(ONE, BYTES)
  hand_over(ordering, 0, 1)
  ordering.thread_read(ONE, BYTES)


def test_what_is_written_after_the_release_is_not_covered_by_it(ordering):
  hand_over(ordering, 0, 1)
  ordering.thread_write(ZERO, BYTES)
  with pytest.raises(ptx.Violation, match='read without'):
    ordering.thread_read(ONE, BYTES)


def test_a_write_waits_for_reads(ordering):
  ordering.thread_read(ZERO, BYTES)
  with pytest.raises(ptx.Violation, match='warp 0 may still read'):
    ordering.thread_write(ONE, BYTES)
  hand_over(ordering, 0, 1)
  ordering.thread_write(ONE, BYTES)


def test_two_warps_do_not_write_the_same_at_once(ordering):
  with pytest.raises(ptx.Violation, match='overwritten at the same time'):
    ordering.thread_write(np.array([0, 1]), np.concatenate([BYTES, BYTES]))


def test_tensor_cores_see_what_threads_wrote_before_a_fence(ordering):
  ordering.thread_write(ZERO, BYTES)
  hand_over(ordering, 0, 1)
  with pytest.raises(ptx.Violation, match='without a proxy fence'):
    ordering.begin_read(range(1, 2), BYTES)
  ordering.fence(0)  # too late: warp 1 does not know of it
  with pytest.raises(ptx.Violation, match='without a proxy fence'):
    ordering.begin_read(range(1, 2), BYTES)
  hand_over(ordering, 0, 1)
  ordering.begin_read(range(1, 2), BYTES)


def test_a_fence_covers_only_what_was_written_before(ordering):
  ordering.fence(0)
  ordering.thread_write(ZERO, BYTES)
  with pytest.raises(ptx.Violation, match='without a proxy fence'):
    ordering.begin_read(range(1), BYTES)


def test_what_tensor_cores_read_is_overwritten_when_they_were_waited_for(
    ordering,
):
  units = ordering.begin_read(range(1), BYTES)
  with pytest.raises(ptx.Violation, match='may still read'):
    ordering.thread_write(ZERO, BYTES)
  ordering.end_read(range(1), units)
  ordering.thread_write(ZERO, BYTES)


def test_what_two_products_read_is_overwritten_when_both_were_waited_for(
    ordering,
):
  first, second = (ordering.begin_read(range(1), BYTES) for _ in range(2))
  ordering.end_read(range(1), first)
  with pytest.raises(ptx.Violation, match='may still read'):
    ordering.thread_write(ZERO, BYTES)
  ordering.end_read(range(1), second)
  ordering.thread_write(ZERO, BYTES)


def test_a_copy_is_read_when_its_barrier_has_completed(ordering):
  ordering.tma_write(0, BYTES, barrier=3, phase=2)
  ordering.observe(1, barrier=3, phases=1)
  with pytest.raises(ptx.Violation, match='TMA for the mbarrier 3'):
    ordering.thread_read(ONE, BYTES)
  ordering.observe(1, barrier=3, phases=2)
  ordering.thread_read(ONE, BYTES)


def test_a_copy_waits_for_those_who_read_what_was_there(ordering):
  ordering.thread_read(ONE, BYTES)
  with pytest.raises(ptx.Violation, match='warp 1 may still read'):
    ordering.tma_write(0, BYTES, barrier=0, phase=1)
  hand_over(ordering, 1, 0)
  with pytest.raises(ptx.Violation, match='without a proxy fence'):
    ordering.tma_write(0, BYTES, barrier=0, phase=1)
  ordering.fence(0)
  ordering.tma_write(0, BYTES, barrier=0, phase=1)
