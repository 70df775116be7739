"""What computes linear attention where the config leaves it open.

On a Hopper GPU that nobody has measured, another process finds out whether the
kernels are right there, once for a machine and its versions, and before this one
opens a device. A run keeps what it has begun with, once there was an answer.
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
from jrt_jax.training import checkpoint
from pallas_kernels.benchmarks import machine
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels.selfcheck import kept
from pallas_kernels.selfcheck import verdict

FALLBACK = 'chunked'

_MINUTES = 2 * verdict.LIMIT / 60  # it asks about the device, then the kernels
_SCHEMA = Fields(
    {'implementation': OneOf(KERNELS_OR_CHUNKED, FALLBACK), 'reason': Text()},
    optional={'unanswered': Flag()},
)


class Choice(NamedTuple):
  """What computes linear attention, and why.

  Attributes:
    implementation: a value of `config.model.implementation`; 'auto' where
      there is nothing to choose in a new run.
    reason: in words; empty where there was nothing to choose.
    unanswered: whether nobody could say if the kernels are right, as the check
      crashed or hung: a run that goes on asks again.
  """

  implementation: str
  reason: str = ''
  unanswered: bool = False

  def __str__(self) -> str:
    return f'linear attention: {self.implementation}, because {self.reason}'


def here(model: Mapping[str, Any], ids: Sequence[int] | None = None) -> Choice:
  """Chooses for the first GPU that this process takes, and opens none.

  Args:
    model: `config.model`, of which the implementation is left open.
    ids: of the GPUs that it takes; None: all that it sees.
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
  """Returns `config.model` with what `here` chooses, which stderr is told.

  What the config names stays.
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

  The first process of each node asks; what one of them finds wrong counts for
  all. A run that is continued keeps what it has begun with, which was chunked if
  nothing is recorded, unless that was the kernels and they may not run on the
  GPUs of now, or the check had no answer.

  Raises:
    ValueError, OSError: what the run has recorded cannot be read.
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
    return Choice(FALLBACK, f'this run began with the kernels, but {now}')
  if before and not found.reason:  # nobody could be asked
    return _kept(before)
  return found


def record(workdir: pathlib.Path, choice: Choice) -> None:
  """Writes workdir/kernels.json, if there was something to choose.

  What is there stays, unless it was without an answer and now there is one.
  """
  path = _file(workdir)
  if path.exists():
    if choice.unanswered or not read(workdir).unanswered:
      return
  if choice.reason:
    content = json.dumps(choice._asdict(), indent=2) + '\n'
    atomic_write.text(path, content)


def forget(workdir: pathlib.Path) -> None:
  """Lets the next run in this workdir choose anew."""
  _file(workdir).unlink(missing_ok=True)


def read(workdir: pathlib.Path) -> Choice:
  """Returns what `record` has written.

  Raises:
    FileNotFoundError: it has written nothing.
    ValueError: that is damaged.
  """
  return Choice(**foreign.read_json(_file(workdir), _SCHEMA))


def _file(workdir):
  return workdir / 'kernels.json'


def _before(workdir):
  """What a run that will be continued has begun with; None: there is none."""
  if not checkpoint.exists(workdir):
    return None
  try:
    return read(workdir)
  except FileNotFoundError:  # there was nothing to choose
    return Choice(FALLBACK)


def _kept(before):
  if not before.reason:
    return before
  return before._replace(reason=f'this run began with it, as {before.reason}')


def _described(gpu):
  return {
      'platform': 'gpu',
      'device': gpu.kind,
      'compute_capability': gpu.compute_capability,
  }


@functools.cache  # or the second model would be asked about on a GPU in use
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
  """What was found, now or before."""
  right = verdict.Verdict(V, None)
  caches = user_cache.folder()
  if caches is None:
    return _check(V, gpu)
  folder = caches / 'kernels'
  about = kept.about(V, {'kind': gpu.kind, 'driver': gpu.driver})
  if kept.has(folder, about):
    return right
  # Checks at the same time may not compile in time.
  waiting = f'waiting for another check of the Hopper kernels on {gpu.kind} …'
  with kept.turn(folder, lambda: _tell(waiting)):
    if kept.has(folder, about):  # since then
      return right
    found = _check(V, gpu)
    if found.reason is None:
      kept.add(folder, about)
  return found


def _check(V, gpu):
  _tell(
      f'checking the Hopper kernels on {gpu.kind}, for {_MINUTES:g} minutes at'
      ' most …'
  )
  (found,) = verdict.decide([V], gpu=gpu.id)
  return found


def _tell(line):
  if distributed.is_first():
    print(line, file=sys.stderr, flush=True)


def _together(answers):
  """One choice of those of each node; the other processes have none."""
  choices = {k: Choice(*x) for k, x in enumerate(answers) if x}
  refused = [k for k, x in choices.items() if x.implementation == FALLBACK]
  if refused:
    # What is wrong counts for more than what nobody could say.
    process = min(refused, key=lambda k: choices[k].unanswered)
    place = f'in process {process} ' if process else ''
    choice = choices[process]
    return choice._replace(reason=f'{place}{choice.reason}')
  first, *others = choices.values()
  if any(x.implementation != first.implementation for x in others):
    return Choice(FALLBACK, 'the GPUs of all nodes are not of one kind')
  return first
