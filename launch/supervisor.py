"""Runs processes that belong together, and ends them together."""

from collections.abc import Mapping, Sequence
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time

from launch import process_group


def run(
    commands: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    *,
    settle: float = 5.0,
    grace: float = 10.0,
    patience: float = 300.0,
) -> int:
  """Runs commands until all have ended; if one fails, the others are ended.

  SIGINT, SIGTERM and SIGHUP are passed on to all of them. After this returns or
  is killed, none of the processes and of their children is left running.

  Args:
    commands: one for each process.
    environment: variables to add to the environment.
    settle: seconds after a failure in which the others may end by themselves
      and print why.
    grace: seconds between SIGTERM and SIGKILL for those that did not; also
      after a second signal.
    patience: seconds after a first signal, or after this process is killed,
      in which processes may save.

  Returns:
    The exit code of the first process that failed (128 + n after signal n), or
    0.
  """
  with process_group.ProcessGroup(patience=patience, grace=grace) as group:
    processes = [
        _start(group, k, command, os.environ | environment)
        for k, command in enumerate(commands)
    ]
    ended = queue.SimpleQueue()  # of processes, in the order of their ends
    threads = [_watch(process, ended) for process in processes]
    threads += [_label(k, process) for k, process in enumerate(processes) if k]
    failed = _first_failure(ended, processes)
    if failed:
      _await(processes, settle)
      group.send(signal.SIGTERM)
      _await(processes, grace)
  for thread in threads:
    thread.join(timeout=grace)  # a process outside the group may still write
  return _report(processes, failed, group.sent)


def _start(group, k, command, environment):
  return group.start(
      command,
      env=environment,
      stdout=subprocess.PIPE if k else None,
      stderr=subprocess.STDOUT if k else None,
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
      with contextlib.suppress(OSError):  # of a terminal that was closed
        sys.stderr.buffer.write(b'[%d] ' % k + line)
        sys.stderr.flush()

  return _thread(copy)


def _thread(function):
  thread = threading.Thread(target=function, daemon=True)
  thread.start()
  return thread


def _first_failure(ended, processes):
  """Waits until all have ended or one has failed, and returns that one."""
  for _ in processes:
    process = ended.get()
    if process.returncode:
      return process
  return None


def _await(processes, seconds):
  deadline = time.monotonic() + seconds
  while any(process.returncode is None for process in processes):
    if time.monotonic() > deadline:
      break
    time.sleep(0.05)


def _report(processes, failed, sent):
  if not failed:
    return 0
  code = failed.returncode
  if code < 0:
    how, code = f'was killed by {signal.Signals(-code).name}', 128 - code
  else:
    how = f'ended with exit code {code}'
  if code - 128 not in sent:
    which = f'process {processes.index(failed)} of {len(processes)}'
    print(f'error: {which} {how}', file=sys.stderr)
  return code
