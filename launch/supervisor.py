"""Runs processes that belong together: they end together, too."""

from collections.abc import Mapping, Sequence
import os
import queue
import signal
import subprocess
import sys
import threading
import time


def run(
    commands: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    *,
    settle: float = 5.0,
    grace: float = 10.0,
) -> int:
  """Runs commands until all have ended; the failure of one ends the others.

  SIGINT and SIGTERM are passed on to all of them.

  Args:
    commands: one for each process.
    environment: what is added to this process's.
    settle: seconds in which the others, after a failure, may end by themselves
      and tell why.
    grace: seconds between SIGTERM and SIGKILL for those that did not.

  Returns:
    The exit code of the first one that failed, 128 + n after signal n; or 0.
  """
  processes = []
  passed_on = _pass_signals_on(processes)
  for k, command in enumerate(commands):
    processes.append(_start(k, command, os.environ | environment))
  ended = queue.SimpleQueue()  # of processes, in the order of their ends
  threads = [_watch(process, ended) for process in processes]
  threads += [_label(k, process) for k, process in enumerate(processes) if k]
  failed = _first_failure(ended, processes)
  if failed:
    _end(processes, settle, grace)
  for thread in threads:
    thread.join(timeout=grace)  # what a killed process started may still write
  return _report(processes, failed, passed_on)


def _pass_signals_on(processes):
  """Returns a list that fills with the signals that have come."""
  passed_on = []

  def handle(number, frame):
    del frame
    passed_on.append(number)
    _send(processes, number)

  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, handle)
  return passed_on


def _start(k, command, environment):
  pipe = subprocess.PIPE if k else None
  # In a session of its own, Ctrl-C comes to it once: from here.
  return subprocess.Popen(
      command,
      env=environment,
      stdout=pipe,
      stderr=subprocess.STDOUT if k else None,
      start_new_session=True,
  )


def _watch(process, ended):
  def wait():
    process.wait()
    ended.put(process)

  return _thread(wait)


def _label(k, process):
  """Copies lines to stderr, each with the number of its process."""

  def copy():
    for line in process.stdout:
      sys.stderr.buffer.write(b'[%d] ' % k + line)
      sys.stderr.flush()

  return _thread(copy)


def _thread(function):
  thread = threading.Thread(target=function, daemon=True)
  thread.start()
  return thread


def _first_failure(ended, processes):
  """Waits for the end of all, or of one that fails, and returns that one."""
  for _ in processes:
    process = ended.get()
    if process.returncode:
      return process
  return None


def _end(processes, settle, grace):
  _await(processes, settle)
  _send(processes, signal.SIGTERM)
  _await(processes, grace)
  _send(processes, signal.SIGKILL)


def _await(processes, seconds):
  deadline = time.monotonic() + seconds
  while any(process.returncode is None for process in processes):
    if time.monotonic() > deadline:
      break
    time.sleep(0.05)


def _send(processes, number):
  for process in processes:
    process.send_signal(number)  # which leaves out those that have ended


def _report(processes, failed, passed_on):
  if not failed:
    return 0
  code = failed.returncode
  if code < 0:
    how, code = f'was killed by {signal.Signals(-code).name}', 128 - code
  else:
    how = f'ended with exit code {code}'
  if code - 128 not in passed_on:
    which = f'process {processes.index(failed)} of {len(processes)}'
    print(f'error: {which} {how}', file=sys.stderr)
  return code
