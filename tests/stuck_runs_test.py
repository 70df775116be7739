"""Real runs that hang or are killed: who is told, what ends, what is lost."""

import functools
import json
import re
import signal
import socket
import time

import pytest

from jrt_jax.runtime import exit_codes

ENDLESS = {'steps': 10**6, 'log_every': 20, 'checkpoint_every': 10**6}


@pytest.fixture(scope='module')
def start(start):  # pylint: disable=redefined-outer-name
  """`start`, of a model that compiles fast."""
  keys = {'model__mixers': "('pla',)", 'eval_every': 0}
  return functools.partial(start, **keys)


@pytest.fixture
def start_four(start):
  """A function that starts four processes of one run; they end with the test."""
  processes = []

  def start_four(workdir, **keys):
    with socket.socket() as free:
      free.bind(('localhost', 0))
      port = free.getsockname()[1]
    flags = (f'--coordinator=localhost:{port}', '--num_processes=4')
    for k in range(4):
      processes.append(
          start(workdir, *flags, f'--process_id={k}', **ENDLESS | keys)
      )
    return processes

  yield start_four
  for process in processes:
    process.kill()
    process.communicate()


def errors(process):
  """The error lines of a process that has ended."""
  _, said = process.communicate()
  return [x for x in said.splitlines() if x.startswith('error: ')]


@pytest.mark.slow
@pytest.mark.parametrize('stopped', [2, 0])
def test_a_stopped_process_is_named_and_ends_the_run_within_its_patience(
    start_four, wait_for_step, tmp_path, stopped
):
  processes = start_four(tmp_path, stall_seconds=15)
  wait_for_step(tmp_path, 20, processes[0])
  processes[stopped].send_signal(signal.SIGSTOP)
  began = time.monotonic()
  others = [process for process in processes if process != processes[stopped]]
  codes = [process.wait(timeout=60) for process in others]
  assert time.monotonic() - began < 15 + 25  # it waits for stacks, too
  assert codes == [exit_codes.STALLED] * 3
  told = [line for process in others for line in errors(process)]
  assert len(told) == 1
  assert f'process {stopped} does not answer (it was ' in told[0]
  for k in {*range(4)} - {stopped}:
    stacks = (tmp_path / 'stalls' / f'process_{k}.txt').read_text()
    assert f'process {k} was ' in stacks and 'loop.py' in stacks


# A process that gets SIGUSR1 hangs in its main thread; its other threads go on.
HANG = """
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(1000))
"""


@pytest.mark.slow
def test_a_process_that_hangs_is_named_and_its_stacks_show_where(
    start_four, wait_for_step, tmp_path
):
  (tmp_path / 'sitecustomize.py').write_text(HANG)
  env = {'PYTHONPATH': str(tmp_path)}
  processes = start_four(tmp_path / 'run', stall_seconds=15, env=env)
  wait_for_step(tmp_path / 'run', 20, processes[0])
  processes[3].send_signal(signal.SIGUSR1)
  codes = [process.wait(timeout=60) for process in processes]
  assert codes == [exit_codes.STALLED] * 4
  (told,) = [line for process in processes for line in errors(process)]
  assert re.search(r'for \d+ s: process 3: .* processes 0, 1, 2: ', told), told
  stacks = (tmp_path / 'run' / 'stalls' / 'process_3.txt').read_text()
  assert 'sitecustomize.py' in stacks


@pytest.mark.slow
def test_without_a_pace_yet_a_stopped_process_is_named_by_those_it_left(
    start_four, wait_for_step, tmp_path
):
  processes = start_four(tmp_path)  # they would wait for minutes
  wait_for_step(tmp_path, 20, processes[0])
  processes[3].send_signal(signal.SIGSTOP)
  codes = [process.wait(timeout=100) for process in processes[:3]]
  assert codes == [exit_codes.STALLED] * 3
  for process in processes[:3]:
    assert any('process 3 does not answer' in x for x in errors(process))


@pytest.mark.slow
def test_the_parts_of_a_killed_and_continued_run_sum_to_its_time(
    start, wait_for_step, tmp_path
):
  keys = {'steps': 400, 'checkpoint_every': 50, 'log_every': 5}
  began = time.monotonic()
  killed = start(tmp_path, **keys)
  wait_for_step(tmp_path, 170, killed)
  killed.kill()
  killed.communicate()
  output, said = start(tmp_path, **keys).communicate()
  took = time.monotonic() - began
  commands = json.loads((tmp_path / 'goodput.json').read_text())['commands']
  (_, was_at), (resumed, end) = [(x['first'], x['last']) for x in commands]
  assert was_at >= 170 > resumed > 0 and end == 400, said
  lines = map(json.loads, (tmp_path / 'metrics.jsonl').open())
  last = [line for line in lines if 'goodput' in line][-1]
  lost = {x: last[x] for x in last if x.startswith('lost/')}
  steps = last['goodput'] * last['wall_seconds']
  assert last['wall_seconds'] == pytest.approx(steps + sum(lost.values()))
  repeated = (was_at - resumed) / was_at * commands[0]['seconds']['steps']
  assert lost['lost/restarts_seconds'] == pytest.approx(repeated)
  # A command is older than its first look at the time, and ends after its last.
  whole = sum(sum(x['seconds'].values()) for x in commands)
  assert 0.85 * took < whole < took
  assert 'goodput' in output
