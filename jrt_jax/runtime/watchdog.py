"""Ends a run that makes no progress, with a message that says who is stuck.

Every process tells the others every few seconds what it does. If one of them
makes no progress for too long, all that answer write the stacks of their
threads into files, and end with an exit code on which a job is started again.
"""

import contextlib
import faulthandler
import json
import os
import pathlib
import socket
import threading
import time
from typing import NoReturn

import jax
from orbax.checkpoint import multihost

from jrt_jax.runtime import distributed
from jrt_jax.runtime import exit_codes
from jrt_jax.runtime import lost_peer
from jrt_jax.runtime import phases as phases_lib
from jrt_jax.runtime import pulses as pulses_lib

DERIVED = -1  # of config.stall_seconds: follow the pace of the run

_SHORTEST = 300.0  # seconds that are allowed to a step, however short steps are
_STEPS = 20  # or so many median steps
# How much longer than a step other phases may take; those that are not here, as
# long as they want: reading data may tokenize all of it.
_FACTORS = {
    **dict.fromkeys(phases_lib.STEP, 1),
    phases_lib.EVALUATING: 6,  # a batch
    phases_lib.SAVING: 6,
    phases_lib.RESTORING: 6,
    phases_lib.COMPILING: 12,
    phases_lib.PROBING: 24,
    phases_lib.ENDING: 24,
}
_MOST_RESTARTS = 3  # from the same checkpoint
_SILENCE = (
    20.0  # seconds; less than distributed.HEARTBEAT, after which jax aborts
)
_KEY = 'jrt_jax/pulses/'


class Patience:
  """Measures how long a process has made no progress.

  Time in which the process itself was stopped, as by Ctrl-Z, does not count.

  Args:
    seconds: how long a step may take; DERIVED, or 0 for any time.
    phases: what the process does.
  """

  def __init__(self, seconds: float, phases: phases_lib.Phases):
    self._seconds = seconds
    self._phases = phases
    self._since = None
    self._looked = phases.now()
    self.waited = 0.0

  def limit(self) -> float:
    """Returns how many seconds the present phase may take."""
    seconds = self._seconds
    factor = _FACTORS.get(self._phases.present.phase)
    if seconds == DERIVED:
      pace = self._phases.pace()
      seconds = max(_SHORTEST, _STEPS * (pace or 0))
      if factor and pace is None:  # nobody knows how long a step takes
        factor = max(factor, _FACTORS[phases_lib.COMPILING])
    return factor * seconds if factor and seconds else float('inf')

  def is_over(self, interval: float) -> bool:
    """Whether this is too long; to be asked every `interval` seconds."""
    now, since = self._phases.now(), self._phases.present.since
    if since != self._since:
      self._since, self.waited = since, 0.0
    else:
      self.waited += min(now - self._looked, 2 * interval)
    self._looked = now
    return self.waited > self.limit()


class Watchdog:
  """Watches over a run in a `with` block, from threads of every process.

  Processes tell each other what they do through the key-value store of
  jax.distributed. Its server and clients are threads in C++, which work while
  Python's main thread waits for a collective. Files in the workdir would do so,
  too, but a shared file system may show them late.

  Args:
    phases: what this process does.
    folder: where stacks are written, in files that all processes see.
    seconds: `config.stall_seconds`.
  """

  def __init__(
      self, phases: phases_lib.Phases, folder: pathlib.Path, seconds: float
  ):
    self._phases = phases
    self._folder = folder
    self._own = distributed.process_id()
    count = jax.process_count() if jax.distributed.is_initialized() else 1
    self._interval = min(2.0 + count / 64, 6.0)  # seconds
    self._patience = Patience(seconds, phases)
    self.peers = pulses_lib.Peers(self._own, count, phases.now())
    self._ended = threading.Event()
    self._is_stuck = False
    self._threads = [threading.Thread(target=self._look, daemon=True)]
    if count > 1:
      self._threads.append(threading.Thread(target=self._talk, daemon=True))

  def __enter__(self) -> 'Watchdog':
    self._folder.mkdir(exist_ok=True)
    self._path = self._folder / f'process_{self._own}.txt'
    self._earlier = _lines(self._folder / 'restarts.txt')
    # Open at all times: a thread that keeps Python's lock lets nobody open it.
    self._file = open(self._path, 'a', encoding='utf-8')
    self._arm()
    lost_peer.explain_with(self._explain)
    for thread in self._threads:
      thread.start()
    return self

  def __exit__(self, *_) -> None:
    self._ended.set()
    lost_peer.explain_with(None)
    for thread in self._threads:
      thread.join(self._interval)
    faulthandler.cancel_dump_traceback_later()
    with contextlib.suppress(OSError):  # others may be faster; a full disk
      self._file.close()
      if not self._path.stat().st_size:
        self._path.unlink()
        self._folder.rmdir()

  def _look(self):
    while not self._ended.wait(self._interval):
      if self._patience.is_over(self._interval) or self.peers.stuck():
        self._end(self._patience.waited)
      self._arm()

  def _arm(self):
    """Lets a thread in C write the stacks if Python's threads cannot run."""
    limit = self._patience.limit()
    if limit < threading.TIMEOUT_MAX:
      faulthandler.dump_traceback_later(max(limit, 1), file=self._file)
    else:
      faulthandler.cancel_dump_traceback_later()

  def _talk(self):
    client, count = multihost.get_jax_distributed_client(), 0
    while not self._ended.wait(0.2 if self._is_stuck else self._interval):
      count += 1
      with contextlib.suppress(jax.errors.JaxRuntimeError):  # the end of others
        client.key_value_set(
            f'{_KEY}{self._own}', json.dumps(self._pulse(count)), True
        )
        found = client.key_value_dir_get(_KEY)
        pulses = {
            int(key.rpartition('/')[2]): pulses_lib.Pulse(*json.loads(text))
            for key, text in found
        }
        self.peers.hear(pulses, self._phases.now())

  def _pulse(self, count):
    phase, since, step = self._phases.present
    return pulses_lib.Pulse(
        count,
        phase,
        self._phases.now() - since,
        step,
        self._phases.of_steps(phases_lib.DATA, phases_lib.DISPATCH),
        self._is_stuck,
    )

  def _end(self, waited) -> NoReturn:
    """Ends the process, after all that answer have written their stacks."""
    lost_peer.hold()
    code, then = self._outcome()
    self._leave_soon(code)
    self._is_stuck = True
    self._dump(waited)
    silent = self._await_others()
    stuck = [x.seconds for x in self.peers.pulses.values() if x.is_stuck]
    waited = max(waited, *stuck, 0)  # others may have noticed it first
    if self._speaks(silent):
      what = self.peers.report(silent)
      if not self.peers.pulses:
        what = f'it was {self._phases.present.phase}'
      lost_peer.tell(
          f'the run made no progress for {waited:.0f} s: {what}. The stacks are'
          f' in {self._folder}; {then}'
      )
      self._record()
    os._exit(code)

  def _outcome(self):
    """Returns the exit code, and what to do then."""
    saved = str(self._phases.saved)
    if self._earlier[-_MOST_RESTARTS:] != [saved] * _MOST_RESTARTS:
      return exit_codes.STALLED, 'the same command continues'
    # Nobody should start it again and again.
    then = f'it is the {_MOST_RESTARTS + 1}th time after step {saved}'
    return exit_codes.FAILURE, then

  def _leave_soon(self, code):
    """Ends the process even if the disk of the workdir hangs."""
    patience = 3 * self._interval + _SILENCE
    timer = threading.Timer(patience, os._exit, [code])
    timer.daemon = True
    timer.start()

  def _speaks(self, silent):
    """Whether this process is the first of those that answer."""
    return self._own == min(self.peers.numbers() - {*silent})

  def _record(self):
    """Records after which checkpoint the run was stuck."""
    with contextlib.suppress(OSError):
      with open(self._folder / 'restarts.txt', 'a') as file:
        file.write(f'{self._phases.saved}\n')

  def _dump(self, waited):
    phase, _, step = self._phases.present
    with contextlib.suppress(OSError):
      self._file.write(
          f'\n{time.strftime("%Y-%m-%d %H:%M:%S")} {socket.gethostname()}:'
          f' process {self._own} was {phase} after step {step}, without progress'
          f' for {waited:.0f} s\n'
      )
      self._file.flush()
      faulthandler.dump_traceback(self._file)

  def _await_others(self):
    """Waits until the others have written theirs; returns who is silent."""
    patience = 3 * self._interval
    deadline = self._phases.now() + patience
    others = self.peers.numbers() - {self._own}
    while others - self.peers.stuck() and self._phases.now() < deadline:
      time.sleep(0.1)
    if self._own == 0 and others:
      time.sleep(1)  # others may still ask this process
    return self.peers.silent(self._phases.now(), patience)

  def _explain(self) -> tuple[str, int] | None:
    """Returns which process is lost because it is silent, and the exit code."""
    silent = self.peers.silent(self._phases.now(), _SILENCE)
    if not silent:
      return None
    code, then = self._outcome()
    self._leave_soon(code)
    self._dump(_SILENCE)
    if self._speaks(silent):
      self._record()
    what = self.peers.report(silent)
    return f'{what}. The stacks are in {self._folder}; {then}', code


def _lines(path):
  return path.read_text().splitlines() if path.exists() else []
