"""Processes end together; each is a line of shell here."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]

PROGRAM = """
import sys
from launch import supervisor
patience, settle, grace, *lines = sys.argv[1:]
commands = [['bash', '-c', line] for line in lines]
sys.exit(supervisor.run(
    commands,
    {'ADDED': '1'},
    settle=float(settle),
    grace=float(grace),
    patience=float(patience),
))
"""

# Of shells that neither heed signals nor end; what they have started neither.
DEAF = """
trap '' INT TERM HUP
(while :; do sleep 0.05; done) &
echo ready
while :; do sleep 0.05; done
"""


def heed_signals():
  """What started the tests may have them ignored, as nohup does."""
  for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)


def command(*lines, patience=60.0, settle=0.3, grace=0.3):
  seconds = map(str, (patience, settle, grace))
  return [sys.executable, '-c', PROGRAM, *seconds, *lines]


def start(*lines, **seconds):
  return subprocess.Popen(
      command(*lines, **seconds),
      cwd=ROOT,
      preexec_fn=heed_signals,
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
  )


def finish(process):
  """Returns the exit code, the output and lines of errors."""
  output, errors = process.communicate(timeout=60)
  return process.returncode, output, errors.splitlines()


def run(*lines):
  return finish(start(*lines))


@pytest.fixture
def holding(tmp_path):
  """A function that makes lines of shell hold a pipe, as do their children.

  With it comes one that waits until none of them is left.
  """
  pipe = tmp_path / 'pipe'
  os.mkfifo(pipe)
  reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
  os.set_blocking(reading, True)

  def wait():
    assert os.read(reading, 1) == b''

  yield lambda line: f'exec 9> {shlex.quote(str(pipe))}; {line}', wait
  os.close(reading)


def await_start(process, count=2):
  """Waits until all have printed `ready`."""
  assert process.stdout.readline() == 'ready\n'
  for _ in range(count - 1):
    assert process.stderr.readline().endswith('] ready\n')


def test_the_first_is_passed_through_and_others_are_labelled():
  code, output, errors = run(
      'echo out; echo err >&2', 'echo "$ADDED"; sleep 0.2; echo two >&2'
  )
  assert (code, output) == (0, 'out\n')
  assert sorted(errors) == ['[1] 1', '[1] two', 'err']


def test_the_first_failure_ends_the_others():
  code, _, errors = run('sleep 100', 'exit 3', 'sleep 100')
  assert code == 3
  assert errors == ['error: process 1 of 3 ended with exit code 3']


def test_the_first_failure_counts_and_not_what_it_leads_to():
  code, _, errors = run('sleep 0.1; exit 1', 'kill -9 $$')
  assert code == 128 + signal.SIGKILL
  assert errors == ['error: process 1 of 2 was killed by SIGKILL']


def test_others_have_time_to_tell_why_they_end():
  _, output, _ = run('sleep 0.1; echo because', 'exit 3')
  assert output == 'because\n'


def test_who_does_not_heed_sigterm_is_killed(tmp_path):
  ready = shlex.quote(str(tmp_path / 'ready'))
  deaf = f'trap "echo asked" TERM; touch {ready}; while :; do sleep 0.05; done'
  fails = f'until [ -e {ready} ]; do sleep 0.05; done; exit 3'
  code, output, _ = finish(start(deaf, fails, grace=3.0))
  assert (code, output) == (3, 'asked\n')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_all_once(number):
  name = number.name.removeprefix('SIG')
  line = (
      f'count=0; trap "count=\\$((count + 1))" {name}; echo ready;'
      ' for i in {1..20}; do sleep 0.05 & wait; done;'
      f' echo $count; exit {128 + number}'
  )
  process = start(line, line, settle=30.0)  # for who is late on a busy machine
  await_start(process)
  os.kill(process.pid, number)
  # And no word of a failure.
  assert finish(process) == (128 + number, '1\n', ['[1] 1'])


def test_a_closed_terminal_lets_all_save():
  line = 'trap "echo saved; exit 143" TERM; echo ready; sleep 100 & wait'
  process = start(line, line)
  await_start(process)
  process.send_signal(signal.SIGHUP)
  assert finish(process) == (143, 'saved\n', ['[1] saved'])


def test_what_nohup_has_set_stays():
  process = subprocess.Popen(
      ['nohup', *command('echo ready; sleep 0.5')],
      cwd=ROOT,
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      stdin=subprocess.DEVNULL,
  )
  await_start(process, 1)
  process.send_signal(signal.SIGHUP)
  assert finish(process)[0] == 0


def test_who_does_not_heed_a_signal_in_time_is_killed(holding):
  hold, wait = holding
  process = start(hold(DEAF), hold(DEAF), patience=0.3)
  await_start(process)
  process.terminate()
  line = 'error: killed, as SIGTERM did not end all processes in time'
  assert finish(process) == (128 + signal.SIGKILL, '', [line])
  wait()


def test_a_second_signal_hastens_the_end(holding):
  hold, wait = holding
  process = start(hold(DEAF), hold(DEAF), patience=1000)
  await_start(process)
  process.send_signal(signal.SIGINT)
  time.sleep(0.5)
  assert process.poll() is None
  process.send_signal(signal.SIGINT)
  assert finish(process)[0] == 128 + signal.SIGKILL
  wait()


def test_when_the_supervisor_is_killed_all_save_and_end(holding):
  hold, wait = holding
  line = hold('trap "echo saved; exit" TERM; echo ready; sleep 100 & wait')
  process = start(line, line, patience=10)
  await_start(process)
  process.kill()
  assert finish(process)[1] == 'saved\n'
  wait()


def test_when_the_supervisor_is_killed_the_deaf_are_too(holding):
  hold, wait = holding
  process = start(hold(DEAF), hold(DEAF), patience=0.3)
  await_start(process)
  process.kill()
  finish(process)
  wait()


@pytest.mark.parametrize('code', [0, 3])
def test_what_processes_leave_behind_ends_with_them(holding, code):
  hold, wait = holding
  line = hold(f'(trap "" TERM; sleep 1000) & exit {code}')
  assert run(line, line)[0] == code
  wait()
