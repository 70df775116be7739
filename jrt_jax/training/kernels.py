"""Chooses the implementation of linear attention if the config says `auto`.

On a Hopper GPU for which no measurements are recorded, a separate process
checks that the kernels compute the right results. It does so once for a machine
and its versions, before this process opens a device. A run keeps the
implementation that it started with, unless that check had no answer.
"""

from collections.abc import Mapping, Sequence
import functools
import json
import pathlib
import sys
from typing import Any, NamedTuple

from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.cost import kernels as cost
from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.runtime import distributed
from jrt_jax.runtime import gpus
from jrt_jax.runtime import user_cache
from jrt_jax.schema import Fields
from jrt_jax.schema import Flag
from jrt_jax.schema import OneOf
from jrt_jax.schema import Text
from jrt_jax.training import checkpoint_reader
from pallas_kernels.benchmarks import machine
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels.selfcheck import kept
from pallas_kernels.selfcheck import verdict

FALLBACK = 'chunked'

_MINUTES = 2 * verdict.LIMIT / 60  # to describe the device, and for the check
_SCHEMA = Fields(
    {'implementation': OneOf(KERNELS_OR_CHUNKED, FALLBACK), 'reason': Text()},
    optional={'unanswered': Flag()},
)


class Choice(NamedTuple):
  """The implementation of linear attention, and why it was chosen.

  Attributes:
    implementation: a value of `config.model.implementation`; 'auto' if there
      was no choice.
    reason: in words; empty if there was no choice.
    unanswered: whether the check crashed or hung, so that a run that continues
      repeats it.
  """

  implementation: str
  reason: str = ''
  unanswered: bool = False

  def __str__(self) -> str:
    return f'linear attention: {self.implementation}, because {self.reason}'


def here(model: Mapping[str, Any], ids: Sequence[int] | None = None) -> Choice:
  """Chooses for the first GPU of this process, without opening a GPU.

  Args:
    model: `config.model`, whose implementation is 'auto'.
    ids: the GPUs that this process uses; None: all that it sees.
  """
  V = cost.value_width(model)
  gpu = gpus.first(ids) if V else None
  if gpu is None or machine.unfit(_described(gpu)):
    return Choice('auto')
  if mosaic_sm90_tiles.is_measured(gpu.kind, V):
    return Choice(
        KERNELS_OR_CHUNKED, f'the kernels were measured on {gpu.kind}'
    )
  return _asked(V, gpu)


def decided(model: Mapping[str, Any]) -> dict[str, Any]:
  """Returns `config.model` with the choice of `here`, printed on stderr.

  An implementation that the config names is kept.
  """
  model = {**model}
  if model['implementation'] == 'auto':
    choice = here(model)
    model['implementation'] = choice.implementation
    if choice.reason:
      print(choice, file=sys.stderr, flush=True)
  return model


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
    own = here(config['model'], peers.local_device_ids)
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


def _described(gpu):
  return {
      'platform': 'gpu',
      'device': gpu.kind,
      'compute_capability': gpu.compute_capability,
  }


@functools.cache  # a second check would run on a GPU that is in use
def _asked(V, gpu):
  found = _verdict(V, gpu)
  if found.reason is None:
    return Choice(KERNELS_OR_CHUNKED, f'the kernels are right on {gpu.kind}')
  return Choice(
      FALLBACK,
      f'the kernels may not run on {gpu.kind}: {found.reason}',
      unanswered=found.report is None,
  )


def _verdict(V, gpu):
  """The result of the check, from the cache or run now."""
  right = verdict.Verdict(V, None)
  caches = user_cache.folder()
  if caches is None:
    return _check(V, gpu)
  folder = caches / 'kernels'
  about = kept.about(V, {'kind': gpu.kind, 'driver': gpu.driver})
  if kept.has(folder, about):
    return right
  # Several checks at once may be too slow to compile within the time limit.
  waiting = f'waiting for another check of the Hopper kernels on {gpu.kind} …'
  with kept.turn(folder, lambda: _tell(waiting)):
    if kept.has(folder, about):  # the other check has passed
      return right
    found = _check(V, gpu)
    if found.reason is None:
      kept.add(folder, about)
  return found


def _check(V, gpu):
  _tell(
      f'checking the Hopper kernels on {gpu.kind}, which takes at most'
      f' {_MINUTES:g} minutes …'
  )
  (found,) = verdict.decide([V], gpu=gpu.id)
  return found


def _tell(line):
  if distributed.is_first():
    print(line, file=sys.stderr, flush=True)


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
