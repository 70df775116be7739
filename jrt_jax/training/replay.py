"""Repeats the steps between two checkpoints and compares what comes out."""

import contextlib
import pathlib
import shutil
import tempfile
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from configs import recorded
from jrt_jax.reporting import metrics as metrics_lib
from jrt_jax.runtime import distributed
from jrt_jax.training import checkpoint_integrity
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import program
from jrt_jax.training import run_kernels
from jrt_jax.training.run import Run


class Difference(NamedTuple):
  """Something that is not what it was.

  Attributes:
    what: a parameter, an array of the optimizer, or a metric of a step.
    how: in words, how much it differs.
  """

  what: str
  how: str


class Replay(NamedTuple):
  """The result of `replay`.

  Attributes:
    numbers: how many numbers of the state were compared.
    metrics: how many logged metrics were compared.
    differences: what differs; empty if the replay is bit-exact.
    changes: in words, what has changed since the later checkpoint was written
      and may matter, such as the version of jax.
  """

  numbers: int
  metrics: int
  differences: list[Difference]
  changes: list[str]


def choose_steps(
    workdir: pathlib.Path, first: int | None, last: int | None
) -> tuple[int, int]:
  """Returns the steps of the two checkpoints to compare.

  Args:
    workdir: the folder of a run.
    first: the checkpoint to start from; None: the one before `last`.
    last: the checkpoint to compare with; None: the newest.

  Raises:
    ValueError: there are no such checkpoints, or one of them is damaged.
  """
  paths = checkpoint_integrity.saved(checkpoint_reader.directory(workdir))
  steps = sorted(int(path.name) for path in paths)
  if len(steps) < 2:
    raise ValueError(
        f'--workdir must have two checkpoints, got {workdir}, which has'
        f' {len(steps)}: config.checkpoint_every and config.keep_checkpoints say'
        ' how often they are saved and how many are kept'
    )
  last = steps[-1] if last is None else last
  for name, step in (('from', first), ('to', last)):
    if step not in (None, *steps):
      raise ValueError(
          f'--{name} must be the step of a checkpoint,'
          f' {", ".join(map(str, steps))}, got {step}'
      )
  if last == steps[0]:
    raise ValueError(f'--to={last} is the first checkpoint: none is before it')
  first = steps[steps.index(last) - 1] if first is None else first
  if first >= last:
    raise ValueError(f'--from must be less than --to={last}, got {first}')
  for step in (first, last):
    path = checkpoint_reader.directory(workdir) / str(step)
    if problem := checkpoint_integrity.problem(path):
      raise ValueError(f'{path} is damaged: {problem}')
  return first, last


def replay(workdir: pathlib.Path, first: int, last: int) -> Replay:
  """Resumes at one checkpoint, trains to another, and compares the two states.

  It resumes as the run itself would, in a temporary folder. The workdir is only
  read.

  Args:
    workdir: the folder of a run.
    first, last: from `choose_steps`.

  Raises:
    ValueError: the run cannot be resumed here, or was trained on other devices.
  """
  meta = checkpoint_reader.load_meta(workdir, last)
  logged = metrics_lib.read(workdir)
  count, differences = 0, []
  with contextlib.ExitStack() as stack:
    copy = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    _copy_until(workdir, first, copy)
    config = recorded.get_config(str(copy / 'config.json')).to_dict()
    choice = run_kernels.of_run(config, copy, distributed.Peers())
    run = stack.enter_context(Run(config, copy, choice=choice))
    changes = _changes(workdir, meta.get('machine'), run.machine())
    stack.enter_context(jax.set_mesh(run.mesh))
    train = program.compile_step(run)
    state, _ = run.start()
    for step in range(first + 1, last + 1):
      state, metrics = train(state, run.put(next(run.data)))
      before = {k: x for k, x in logged.get(step, {}).items() if k in metrics}
      count += len(before)
      differences += _of_metrics(step, before, metrics)
    if run.place()['iterator'] != meta['iterator']:
      differences.append(Difference('place in the data', 'is another'))
    expected, _ = checkpoint_reader.load_state(
        checkpoint_reader.directory(workdir) / str(last), run.abstract_state()
    )
    differences += _of_states(expected, state)
  numbers = sum(x.size for x in jax.tree.leaves(state))
  return Replay(numbers, count, differences, changes)


def _copy_until(workdir, step, copy):
  """Makes a workdir whose only checkpoint is `step`, by a link to it."""
  for name in ('config.json', 'kernels.json'):
    if (workdir / name).exists():
      shutil.copy(workdir / name, copy)
  checkpoint = checkpoint_reader.directory(workdir) / str(step)
  folder = checkpoint_reader.directory(copy)
  folder.mkdir()
  (folder / checkpoint.name).symlink_to(checkpoint)


def _changes(workdir, before, now):
  """Returns what is different here and may matter; refuses other devices."""
  if before is None:  # the checkpoint is of an earlier version
    return []
  if before['devices'] != now['devices']:
    raise ValueError(
        f'{workdir} was trained on {before["devices"]}, and here the run takes'
        f' {now["devices"]}: a replay must have the same devices'
    )
  return [
      f'{key} was {before[key]} in training and is {now[key]} here'
      for key in now
      if before.get(key, now[key]) != now[key]
  ]


def _of_metrics(step, before, metrics):
  """Returns the differences of the metrics of a step."""
  found = []
  for name, x in before.items():
    now = metrics_lib.number(metrics[name])
    if now != x:
      found.append(Difference(f'{name} of step {step}', f'{x} → {now}'))
  return found


def _of_states(before, now):
  """Returns the arrays of two states that differ in any bit."""
  found = []
  paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(before)]
  arrays = zip(paths, *map(jax.tree.leaves, (before, now)), strict=True)
  for path, x, y in arrays:
    count, most = map(float, _apart(x, y))
    if count:
      how = f'{count:,.0f} of {x.size:,} numbers differ, by at most {most:.3g}'
      found.append(Difference(jax.tree_util.keystr(path).lstrip('.'), how))
  return found


@jax.jit
def _apart(x, y):
  """Returns how many numbers have other bits, and the largest difference."""
  bits = [lax.bitcast_convert_type(a, jnp.uint32) for a in (x, y)]
  apart = jnp.abs(x.astype(jnp.float32) - y.astype(jnp.float32))
  return jnp.sum(bits[0] != bits[1]), jnp.max(apart, initial=0)
