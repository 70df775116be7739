"""What processes tell each other: who is silent, behind, or slow."""

import pytest

from jrt_jax.runtime import phases as phases_lib
from jrt_jax.runtime import pulses


def pulse(count=1, phase=phases_lib.DEVICES, step=18, host=0.0, stuck=False):
  return pulses.Pulse(count, phase, 5.0, step, host, stuck)


@pytest.fixture
def peers():
  """Four processes, as process 1 sees them."""
  return pulses.Peers(1, 4, 0)


def test_a_process_that_tells_nothing_new_is_silent(peers):
  peers.hear({k: pulse() for k in range(4)}, 10)
  peers.hear({k: pulse(1 + (k != 2)) for k in range(4)}, 20)
  assert peers.silent(25, 12) == [2]
  assert peers.silent(25, 20) == []
  assert peers.report([2]) == (
      'process 2 does not answer (it was waiting for devices after step 18)'
  )


def test_a_process_that_was_never_heard_is_silent(peers):
  peers.hear({k: pulse() for k in (0, 1, 2)}, 10)
  assert peers.silent(15, 12) == [3]
  assert peers.report([3]) == 'process 3 does not answer'


def test_without_the_first_process_nothing_is_known_of_the_others(peers):
  peers.hear({k: pulse() for k in range(4)}, 10)
  assert peers.silent(30, 12) == [0]


def test_the_process_that_the_others_wait_for_is_told_first(peers):
  told = {k: pulse() for k in range(4)}
  told[3] = pulse(phase=phases_lib.DATA, step=17)
  peers.hear(told, 10)
  assert peers.report([]) == (
      'process 3: waiting for data after step 17; processes 0, 1, 2: waiting'
      ' for devices after step 18'
  )


def test_those_that_end_the_run_are_known(peers):
  peers.hear({0: pulse(), 3: pulse(stuck=True)}, 10)
  assert peers.stuck() == {3}


def test_the_slowest_host_and_the_median_are_of_the_steps_since_last_time(
    peers,
):
  none = dict.fromkeys(
      ('median_host_seconds', 'slowest_host_seconds', 'slowest_process')
  )
  assert peers.host_seconds() == none
  peers.hear({k: pulse(step=10, host=100.0) for k in range(4)}, 10)
  assert peers.host_seconds() == none
  slow = {k: pulse(step=20, host=101.0 + 4 * (k == 2)) for k in range(4)}
  peers.hear(slow, 20)
  assert peers.host_seconds() == {
      'median_host_seconds': pytest.approx(0.1),
      'slowest_host_seconds': pytest.approx(0.5),
      'slowest_process': 2,
  }
  assert peers.host_seconds() == none  # nothing is new
