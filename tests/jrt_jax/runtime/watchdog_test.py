"""When a run counts as stuck, and what a process does then."""

import subprocess
import sys
import types

import pytest

from jrt_jax.runtime import exit_codes
from jrt_jax.runtime import phases as phases_lib
from jrt_jax.runtime import watchdog

INTERVAL = 2  # seconds between two looks


@pytest.fixture
def clock():
  """A clock that stands still unless a test moves it."""
  return types.SimpleNamespace(now=1000.0)


@pytest.fixture
def phases(clock):
  """A process whose devices compute, by that clock."""
  return phases_lib.Phases(phases_lib.DEVICES, now=lambda: clock.now)


@pytest.fixture
def seconds_until_stuck(clock):
  """A function that looks on; None: for a day, nothing happened."""

  def wait(patience):
    patience.is_over(INTERVAL)
    start = clock.now
    while clock.now - start < 86_400:
      clock.now += INTERVAL
      if patience.is_over(INTERVAL):
        return clock.now - start
    return None

  return wait


@pytest.mark.parametrize(
    'phase, expected',
    [
        (phases_lib.DATA, 60),
        (phases_lib.DEVICES, 60),
        (phases_lib.SAVING, 360),
        (phases_lib.COMPILING, 720),
        (phases_lib.PREPARING, None),  # it may tokenize for hours
    ],
)
def test_a_process_is_stuck_if_one_thing_takes_too_long(
    phases, seconds_until_stuck, phase, expected
):
  phases.enter(phase)
  waited = seconds_until_stuck(watchdog.Patience(60, phases))
  assert waited == (expected and expected + INTERVAL)


def test_nobody_is_stuck_if_that_is_turned_off(phases, seconds_until_stuck):
  assert seconds_until_stuck(watchdog.Patience(0, phases)) is None


@pytest.mark.parametrize('pace, expected', [(0.1, 300), (60.0, 1200)])
def test_slow_steps_are_given_more_time(
    clock, phases, seconds_until_stuck, pace, expected
):
  for step in range(9):
    clock.now += pace
    phases.count(step + 1)
  patience = watchdog.Patience(watchdog.DERIVED, phases)
  waited = seconds_until_stuck(patience)
  assert waited == pytest.approx(expected + INTERVAL)


def test_first_steps_have_the_time_of_compilation(
    clock, phases, seconds_until_stuck
):
  clock.now += 0.01  # the first step counts when devices begin with it
  phases.count(1)
  waited = seconds_until_stuck(watchdog.Patience(watchdog.DERIVED, phases))
  assert waited == pytest.approx(12 * 300 + INTERVAL)


def test_steps_and_batches_of_an_evaluation_are_progress(clock, phases):
  patience = watchdog.Patience(60, phases)
  for step in range(100):
    clock.now += 50
    phases.count(step + 1)
    assert not patience.is_over(50)
  phases.enter(phases_lib.EVALUATING)
  for _ in range(100):
    clock.now += 300
    phases.progress()
    assert not patience.is_over(300)


def test_the_time_in_which_a_process_was_stopped_does_not_count(clock, phases):
  patience = watchdog.Patience(60, phases)
  patience.is_over(INTERVAL)
  clock.now += 10_000  # Ctrl-Z, and fg
  assert not patience.is_over(INTERVAL)


HANGING = """
import ctypes, pathlib, sys, time
from jrt_jax.runtime import phases as phases_lib, watchdog

def hang():
  {hang}

phases = phases_lib.Phases(phases_lib.DEVICES)
phases.saved = 30
phases.enter(phases_lib.DATA, 38)
with watchdog.Watchdog(phases, pathlib.Path(sys.argv[1]), 3):
  hang()
"""


def run_hanging(folder, hang='time.sleep(60)'):
  """A process that hangs; returns it when it has ended."""
  return subprocess.run(
      [sys.executable, '-c', HANGING.format(hang=hang), str(folder)],
      capture_output=True,
      text=True,
  )


def test_a_process_that_hangs_writes_its_stacks_and_ends(tmp_path):
  done = run_hanging(tmp_path / 'stalls')
  assert done.returncode == exit_codes.STALLED
  assert done.stderr.startswith('error: the run made no progress for ')
  assert f'it was {phases_lib.DATA}. The stacks' in done.stderr
  stacks = (tmp_path / 'stalls' / 'process_0.txt').read_text()
  assert f'process 0 was {phases_lib.DATA} after step 38' in stacks
  assert 'in hang' in stacks


@pytest.mark.slow
def test_a_full_disk_does_not_keep_a_process_that_hangs(tmp_path):
  (tmp_path / 'process_0.txt').symlink_to('/dev/full')
  assert run_hanging(tmp_path).returncode == exit_codes.STALLED


@pytest.mark.slow
def test_a_process_that_keeps_pythons_lock_still_writes_its_stacks(tmp_path):
  done = run_hanging(tmp_path / 'stalls', 'ctypes.PyDLL(None).sleep(12)')
  assert 'in hang' in (tmp_path / 'stalls' / 'process_0.txt').read_text()
  assert not done.returncode  # nobody could end it from inside


@pytest.mark.slow
def test_a_run_that_hangs_at_the_same_place_is_not_started_forever(tmp_path):
  (tmp_path / 'restarts.txt').write_text('20\n30\n30\n30\n')
  done = run_hanging(tmp_path)
  assert done.returncode == exit_codes.FAILURE
  assert 'the 4th time after step 30' in done.stderr
  (tmp_path / 'restarts.txt').write_text('20\n20\n20\n30\n')
  assert run_hanging(tmp_path).returncode == exit_codes.STALLED
  assert (tmp_path / 'restarts.txt').read_text().split()[-2:] == ['30', '30']


def test_a_process_that_ends_leaves_nothing_behind(phases, tmp_path):
  with watchdog.Watchdog(phases, tmp_path / 'stalls', 60):
    assert (tmp_path / 'stalls').exists()
  assert not (tmp_path / 'stalls').exists()
