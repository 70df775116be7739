"""The seconds of a process, by what it does."""

import subprocess
import sys
import types

import pytest

from jrt_jax.runtime import phases as phases_lib


@pytest.fixture
def clock():
  """A clock that stands still unless a test moves it."""
  return types.SimpleNamespace(now=100.0)


@pytest.fixture
def phases(clock):
  """A process of that clock which began three seconds ago."""
  return phases_lib.Phases('imports', age=3, now=lambda: clock.now)


def test_phases_sum_to_the_age_of_a_process(clock, phases):
  clock.now += 1
  phases.enter(phases_lib.DEVICES)
  with phases.within(phases_lib.SAVING):
    clock.now += 10
    with phases.within(phases_lib.EVALUATING):
      clock.now += 100
    clock.now += 20
  clock.now += 1000
  assert phases.seconds() == {
      'imports': 4,
      phases_lib.SAVING: 30,
      phases_lib.EVALUATING: 100,
      phases_lib.DEVICES: 1000,
  }


def test_an_error_ends_a_phase(phases):
  with pytest.raises(OSError), phases.within(phases_lib.SAVING):
    raise OSError
  assert phases.present.phase == 'imports'


def test_every_step_and_every_sign_of_progress_renews_the_present(
    clock, phases
):
  phases.enter(phases_lib.DEVICES, 7)
  clock.now += 5
  assert phases.present == (phases_lib.DEVICES, 100, 7)
  phases.progress()
  assert phases.present == (phases_lib.DEVICES, 105, 7)
  clock.now += 5
  phases.count(8)
  assert phases.present == (phases_lib.DEVICES, 110, 8)
  assert phases.of_steps() == 10


def test_the_pace_is_the_median_of_steps_without_what_is_between_them(
    clock, phases
):
  assert phases.pace() is None
  phases.enter(phases_lib.DEVICES)
  for step, seconds in enumerate([2, 3, 50, 3, 2]):
    with phases.within(phases_lib.SAVING):
      clock.now += 1000
    with phases.within(phases_lib.DATA):
      clock.now += seconds / 2
    clock.now += seconds / 2
    phases.count(step + 1)
  assert phases.pace() == 3


def test_a_process_is_as_old_as_its_parent_says():
  code = (
      'import time; time.sleep(0.5); from jrt_jax.runtime import phases;'
      'print(phases.process_age())'
  )
  before = phases_lib.process_age()
  done = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert 0.4 < float(done.stdout) <= phases_lib.process_age() - before + 0.1
