"""What share of the time of a run, over all commands, was spent in steps."""

import json
import types

import pytest

from jrt_jax.reporting import goodput
from jrt_jax.runtime import phases as phases_lib


@pytest.fixture
def clock():
  """A clock that stands still unless a test moves it."""
  return types.SimpleNamespace(now=100.0)


@pytest.fixture
def command(clock, tmp_path):
  """A function that works on the run of `tmp_path` as a command does."""

  def work(first, last, *, startup=10, saves=4, step_seconds=1.0):
    phases = phases_lib.Phases(phases_lib.IMPORTS, now=lambda: clock.now)
    clock.now += startup
    phases.enter(phases_lib.DEVICES, first)
    record = goodput.Goodput(tmp_path, first, phases)
    for step in range(first, last):
      clock.now += step_seconds
      phases.count(step + 1)
    with phases.within(phases_lib.SAVING):
      clock.now += saves
    return record, record.record()

  return work


def test_a_run_that_nothing_disturbs_loses_its_start_and_its_saves(command):
  record, metrics = command(0, 86)
  assert metrics['wall_seconds'] == 100
  assert metrics['goodput'] == pytest.approx(0.86)
  assert metrics['lost/startup_seconds'] == 10
  assert metrics['lost/saves_seconds'] == 4
  assert metrics['lost/restarts_seconds'] == 0
  lines = record.lines()
  assert lines['time'] == '1m40s'
  assert '86.0%' in lines['  goodput']
  assert lines['  the rest'] == 'startup 10s, saves 4s'


def test_steps_that_a_restart_repeats_are_lost_once(command):
  command(0, 50)
  _, metrics = command(30, 60)  # the newest checkpoint was of step 30
  assert metrics['wall_seconds'] == 2 * 14 + 50 + 30
  assert metrics['lost/restarts_seconds'] == pytest.approx(20)
  assert metrics['lost/startup_seconds'] == 20
  assert metrics['goodput'] * metrics['wall_seconds'] == pytest.approx(60)


def test_a_restart_from_further_back_repeats_what_two_commands_have_done(
    command,
):
  command(0, 50)
  command(40, 70)
  _, metrics = command(20, 80)  # all newer checkpoints were damaged
  assert metrics['lost/restarts_seconds'] == pytest.approx(30 + 30)
  assert metrics['goodput'] * metrics['wall_seconds'] == pytest.approx(80)


def test_slow_steps_that_are_repeated_count_as_long_as_they_took(command):
  command(0, 10, step_seconds=6.0)
  _, metrics = command(5, 10)
  assert metrics['lost/restarts_seconds'] == pytest.approx(30)


def test_waiting_for_data_is_lost_only_while_devices_are_idle(clock, tmp_path):
  phases = phases_lib.Phases(phases_lib.DEVICES, now=lambda: clock.now)
  with phases.within(phases_lib.DATA):
    clock.now += 8
  phases.idle += 3
  clock.now += 2
  metrics = goodput.Goodput(tmp_path, 0, phases).record()
  assert metrics['lost/data_seconds'] == 3
  assert metrics['goodput'] == pytest.approx(0.7)


@pytest.mark.parametrize('content', ['{', '{"commands": [{"first": 0}]}', '[]'])
def test_a_damaged_record_is_begun_anew(command, tmp_path, content):
  (tmp_path / 'goodput.json').write_text(content)
  _, metrics = command(0, 86)
  assert metrics['wall_seconds'] == 100
  assert len(json.loads((tmp_path / 'goodput.json').read_text())) == 1


def test_the_start_is_told_by_its_parts(clock):
  phases = phases_lib.Phases(phases_lib.IMPORTS, now=lambda: clock.now)
  clock.now += 2
  phases.enter(phases_lib.COMPILING)
  clock.now += 3
  phases.remarks[phases_lib.COMPILING] = ' (read from the cache)'
  assert goodput.startup(phases) == (
      'started in 5.0 s: imports 2.0 s, compiling 3.0 s (read from the cache)'
  )
