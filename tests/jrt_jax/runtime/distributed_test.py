"""Two real processes that meet over gloo, agree, and fail."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from jrt_jax.runtime import distributed

# A process of a run; the scenario says what happens between both lines.
PROGRAM = """
import os, sys, time
from jrt_jax import command_line
from jrt_jax.runtime import distributed, failures

def agree():
  print(distributed.from_first(lambda: {'asked': peers.process_id}))
  print(*distributed.everyones('firsts', peers.is_first_of_node))
  print(*distributed.largest(10 + peers.process_id))
  print(distributed.node_size(), 'on this node')
  try:
    distributed.from_first(lambda: open('/no/such/file'))
  except FileNotFoundError as error:
    print('no file in process 0')
  except OSError as error:
    print(str(error).replace('[Errno 2] ', ''))

def one_mistake():
  if peers.process_id == 1:
    raise FileNotFoundError('no such file here')

def same_mistake():
  raise ValueError('config.steps must be positive')

def other_facts():
  rate = 0.5 if peers.process_id else 0.25
  distributed.check_same({'--config.steps': 3, '--config.peak_lr': rate})

def both_stop():
  distributed.largest(0)
  sys.exit(143)

def one_has_a_bug():
  distributed.largest(0)
  if peers.process_id == 1:
    raise KeyError('a bug')
  distributed.largest(0)

def one_aborts():
  distributed.largest(0)
  if peers.process_id == 1:
    os.abort()
  distributed.largest(0)

def work():
  print('at work', flush=True)
  while True:
    distributed.largest(0)

def idle():
  print('at work', flush=True)
  time.sleep(100)

with failures.together():
  with command_line.one_line_errors(), failures.shared():
    peers = distributed.meet(
        coordinator='localhost:' + sys.argv[1],
        num_processes=2,
        process_id=int(sys.argv[2]),
        timeout=float(sys.argv[4]),
    )
    distributed.open_devices()
    print(peers)
    if 'mistake' in sys.argv[3] or 'facts' in sys.argv[3]:
      globals()[sys.argv[3]]()
  globals()[sys.argv[3]]()
"""


def start(port, process, scenario, timeout=60):
  return subprocess.Popen(
      [sys.executable, '-c', PROGRAM, port, str(process), scenario]
      + [str(timeout)],
      env=os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ''},
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
  )


def free_port():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return str(free.getsockname()[1])


def run_two(scenario):
  """Returns exit codes, lines of output and of errors of both processes."""
  port = free_port()
  return finish([start(port, process, scenario) for process in range(2)])


def finish(processes):
  said = [process.communicate(timeout=120) for process in processes]
  codes = [process.returncode for process in processes]
  outputs, errors = ([lines(text) for text in texts] for texts in zip(*said))
  return codes, outputs, errors


def lines(text):
  return [line for line in text.splitlines() if not line.startswith('[Gloo]')]


def test_processes_agree():
  codes, outputs, errors = run_two('agree')
  assert codes == [0, 0], errors
  peers = 'processes: 2 on 1 node (flags), this one takes 1 CPU device'
  agreed = [peers, "{'asked': 0}", 'True False', '11', '2 on this node']
  assert outputs[0] == [*agreed, 'no file in process 0']
  assert outputs[1] == [*agreed, "No such file or directory: '/no/such/file'"]


@pytest.mark.parametrize(
    'scenario, line',
    [
        ('same_mistake', 'error: config.steps must be positive'),
        ('one_mistake', 'error: process 1: no such file here'),
        (
            'other_facts',
            'error: all processes must be started the same way:'
            ' --config.peak_lr is'
            ' 0.25 in process 0 and 0.5 in process 1',
        ),
    ],
)
def test_a_mistake_is_told_once_and_ends_both(scenario, line):
  codes, _, errors = run_two(scenario)
  assert codes == [2, 2]
  assert errors == [[line], []]


def test_a_signal_that_both_have_heeded_ends_both_in_order():
  codes, _, errors = run_two('both_stop')
  assert codes == [143, 143]
  assert errors == [[], []]


def test_an_unexpected_error_of_one_ends_the_other():
  codes, _, errors = run_two('one_has_a_bug')
  assert codes[1] == 1
  assert errors[1][-1] == "KeyError: 'a bug'"
  assert codes[0] == 1
  assert_lost(errors[0])


def test_a_library_that_aborts_one_process_is_not_taken_for_a_lost_one():
  codes, _, errors = run_two('one_aborts')
  assert codes == [1, -signal.SIGABRT]
  (line,) = errors[1]
  assert line.startswith('error: process 1 was aborted by XLA or another lib')
  assert_lost(errors[0])


def assert_lost(errors):
  """One line, whether a broken collective or XLA's watch has come first."""
  (line,) = errors
  assert re.match('error: process . lost the connection to another', line)


@pytest.mark.parametrize(
    'killed',
    [0, pytest.param(1, marks=pytest.mark.slow)],  # as several_processes_test
)
def test_the_death_of_one_ends_the_other(killed):
  took, errors = kill_one('work', killed)
  assert took < 60
  assert_lost(errors)


@pytest.mark.parametrize(
    'killed',
    [0, pytest.param(1, marks=pytest.mark.slow)],  # its heartbeat only tells
)
def test_the_death_of_one_ends_the_other_though_it_waits_for_nothing(killed):
  took, errors = kill_one('idle', killed)
  assert took < 60
  assert_lost(errors)


def kill_one(scenario, killed):
  """Returns the seconds until the other one has ended, and its errors."""
  port = free_port()
  processes = [start(port, process, scenario) for process in range(2)]
  for process in processes:
    while 'at work' not in process.stdout.readline():
      assert process.poll() is None, process.communicate()
  processes[killed].send_signal(signal.SIGKILL)
  start_time = time.monotonic()
  other = processes[1 - killed]
  _, errors = other.communicate(timeout=120)
  assert other.returncode == 1
  processes[killed].communicate()
  return time.monotonic() - start_time, lines(errors)


@pytest.mark.parametrize('process', [0, 1])
def test_who_waits_in_vain_says_so(process):
  codes, _, errors = finish([start(free_port(), process, 'idle', timeout=1)])
  assert codes == [1]
  (line,) = errors[0]
  assert line.startswith(f'error: process {process} of 2 waited 1 s for the')


@pytest.mark.parametrize(
    'cluster, seconds',
    [
        ('flags', distributed.PATIENCE),
        ('kubernetes', distributed.PATIENCE_WITH_PODS),
    ],
)
def test_pods_may_wait_longer_for_each_other(monkeypatch, cluster, seconds):
  waits = []

  def connect(place, timeout):
    waits.append(timeout)
    raise OSError

  monkeypatch.setattr(distributed, '_connect', connect)
  monkeypatch.setenv('JOB_COMPLETION_INDEX', '1')
  with pytest.raises(OSError):
    distributed.meet(cluster, coordinator='a:1', num_processes=2, process_id=1)
  assert waits == [seconds]


def test_a_port_in_use_is_one_line():
  with socket.socket(socket.AF_INET6) as used:
    used.bind(('::', 0))
    used.listen()
    port = str(used.getsockname()[1])
    codes, _, errors = finish([start(port, 0, 'idle')])
  assert codes == [2]
  assert 'error: process 0 cannot listen at the port of' in errors[0][-1]


def test_alone_nothing_happens():
  peers = distributed.meet('none')
  distributed.open_devices()
  assert peers == distributed.Peers('none')
  assert str(peers).startswith('processes: 1 on 1 node (none), this one takes')
  assert distributed.is_first()
  assert distributed.largest(3, 1) == [3, 1]
  assert distributed.everyones('number', 3) == [3]
  distributed.check_same({'--config.steps': 3})
  assert distributed.from_first(lambda: 'result') == 'result'
  distributed.shutdown()
