"""Processes end together; each is a line of shell here."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]

PROGRAM = """
import json, sys
from launch import supervisor
commands = [['bash', '-c', line] for line in sys.argv[1:]]
sys.exit(supervisor.run(commands, {'ADDED': '1'}, settle=0.3, grace=0.3))
"""


def start(*lines):
  return subprocess.Popen(
      [sys.executable, '-c', PROGRAM, *lines],
      cwd=ROOT,
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
  )


def run(*lines):
  """Returns the exit code, the output and lines of errors."""
  process = start(*lines)
  output, errors = process.communicate(timeout=60)
  return process.returncode, output, errors.splitlines()


def test_the_first_is_passed_through_and_others_are_labelled():
  code, output, errors = run(
      'echo out; echo err >&2', 'echo "$ADDED"; sleep 0.2; echo two >&2'
  )
  assert (code, output) == (0, 'out\n')
  assert errors == ['err', '[1] 1', '[1] two']


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


def test_who_does_not_heed_sigterm_is_killed():
  code, output, _ = run(
      'trap "echo asked" TERM; while :; do sleep 0.05; done', 'exit 3'
  )
  assert (code, output) == (3, 'asked\n')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_all_once(number):
  name = number.name.removeprefix('SIG')
  line = (
      f'count=0; trap "count=\\$((count + 1))" {name}; echo ready;'
      ' for i in {1..20}; do sleep 0.05; done;'
      f' echo $count; exit {128 + number}'
  )
  process = start(line, line)
  assert process.stdout.readline() == 'ready\n'
  assert process.stderr.readline() == '[1] ready\n'
  time.sleep(0.1)
  os.kill(process.pid, number)
  output, errors = process.communicate(timeout=60)
  assert process.returncode == 128 + number
  assert (output, errors) == ('1\n', '[1] 1\n')  # and no word of a failure
