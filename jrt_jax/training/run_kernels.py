"""The implementation of linear attention that a run keeps.

A run keeps the implementation that it started with, unless the check of the
kernels had no answer.
"""

from collections.abc import Mapping
import json
import logging
import pathlib
import sys
from typing import Any

from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.reporting import tables
from jrt_jax.runtime import distributed
from jrt_jax.schema import Fields
from jrt_jax.schema import Flag
from jrt_jax.schema import OneOf
from jrt_jax.schema import Text
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import kernels
from jrt_jax.training.kernels import Choice
from jrt_jax.training.kernels import FALLBACK

_SCHEMA = Fields(
    {'implementation': OneOf(KERNELS_OR_CHUNKED, FALLBACK), 'reason': Text()},
    optional={'unanswered': Flag()},
)


def of_run(
    config: Mapping[str, Any], workdir: pathlib.Path, peers: distributed.Peers
) -> Choice:
  """Chooses for all processes of a run, which must call it together.

  The first process of each node runs the check; if it fails on one node, no
  process uses the kernels. A run that is continued keeps the implementation
  that it started with (chunked if none is recorded), with two exceptions: it
  started with the kernels and they may not run on the present GPUs, or its
  check had no answer.

  Raises:
    ValueError, OSError: the record of the run cannot be read.
  """
  named = config['model']['implementation']
  if named != 'auto':
    return Choice(named)
  before = distributed.from_first(lambda: _before(workdir))
  before = before and Choice(*before)  # JSON has no named tuples
  had_kernels = before and before.implementation == KERNELS_OR_CHUNKED
  if before and not had_kernels and not before.unanswered:
    return _kept(before)
  own = None
  if peers.is_first_of_node:
    own = kernels.here(config['model'], peers.local_device_ids)
  found = _together(distributed.everyones('kernels', own))
  if had_kernels and found.implementation != KERNELS_OR_CHUNKED:
    now = found.reason or 'they cannot run here'
    return Choice(FALLBACK, f'this run started with the kernels, but {now}')
  if before and not found.reason:  # there was nothing to check
    return _kept(before)
  return found


def record(workdir: pathlib.Path, choice: Choice) -> None:
  """Writes workdir/kernels.json, if there was a choice.

  An existing file is kept, unless its check had no answer and now there is one.
  """
  path = _file(workdir)
  if path.exists():
    if choice.unanswered or not read(workdir).unanswered:
      return
  if choice.reason:
    content = json.dumps(choice._asdict(), indent=2) + '\n'
    atomic_write.text(path, content)


def forget(workdir: pathlib.Path) -> None:
  """Deletes the record, so that the next run in this workdir chooses anew."""
  _file(workdir).unlink(missing_ok=True)


def read(workdir: pathlib.Path) -> Choice:
  """Returns the choice that `record` has written.

  Raises:
    FileNotFoundError: there is no record.
    ValueError: the record is damaged.
  """
  return Choice(**foreign.read_json(_file(workdir), _SCHEMA))


def show() -> None:
  """Prints which implementation runs, and why, at its first use."""
  log = logging.getLogger('pallas_kernels')
  handler = logging.StreamHandler(sys.stdout)
  handler.format = lambda record: tables.paragraph(record.getMessage())
  log.addHandler(handler)
  log.setLevel(logging.INFO)
  log.propagate = False


def _file(workdir):
  return workdir / 'kernels.json'


def _before(workdir):
  """The choice that the run in `workdir` started with; None: no run."""
  if not checkpoint_reader.exists(workdir):
    return None
  try:
    return read(workdir)
  except FileNotFoundError:  # there was no choice
    return Choice(FALLBACK)


def _kept(before):
  if not before.reason:
    return before
  return before._replace(reason=f'this run started with it, as {before.reason}')


def _together(answers):
  """Combines the choices of all nodes; only first processes have one."""
  choices = {k: Choice(*x) for k, x in enumerate(answers) if x}
  refused = [k for k, x in choices.items() if x.implementation == FALLBACK]
  if refused:
    # Prefer a reason of a failed check to one of a check without an answer.
    process = min(refused, key=lambda k: choices[k].unanswered)
    place = f'in process {process} ' if process else ''
    choice = choices[process]
    return choice._replace(reason=f'{place}{choice.reason}')
  first, *others = choices.values()
  if any(x.implementation != first.implementation for x in others):
    return Choice(FALLBACK, 'the GPUs of the nodes are not all of one kind')
  return first
