"""Jobs that train a small model, with the library's own trainer.

The workdir of the run is the folder of the job, which is kept until the job is
done: after a kill the run continues from its newest checkpoint.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import pathlib
import signal
from typing import Any

import numpy as np
import tqdm

from configs import synthetic
from jrt_jax import cost
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.data.synthetic import task
from jrt_jax.reporting import curves
from jrt_jax.runtime import distributed
from jrt_jax.runtime import memory
from jrt_jax.training import checkpoint
from jrt_jax.training import loop
from jrt_jax.training import program
from jrt_jax.training import recorded_config
from jrt_jax.training import run as run_lib
from jrt_jax.training import run_kernels

# Learning rates are chosen by these figures.
SCORE = 'answer_accuracy'
LOSS = 'answer_loss'

_HELD_OUT = 'held_out/'


def config(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the config of a run.

  Args:
    settings: 'task', a choice of `configs/synthetic.py`; 'learning_rate', the
      peak, which decays to one hundredth; 'seed'; and 'overrides', other keys
      of the config by their dotted names.
  """
  default = synthetic.get_config(settings['task'])
  changed = {
      **settings.get('overrides', {}),
      'optimizer.peak_lr': settings['learning_rate'],
      'optimizer.min_lr': settings['learning_rate'] / 100,
      'seed': settings['seed'],
  }
  flat = recorded_config.flat(default.to_dict())
  return recorded_config.nested(flat | changed)


def train(settings: Mapping[str, Any], workdir: pathlib.Path) -> dict[str, Any]:
  """Trains the run of a synthetic task; see `config` and `run`."""
  return run(config(settings), workdir)


def run(whole: Mapping[str, Any], workdir: pathlib.Path) -> dict[str, Any]:
  """Trains a run to its end, and returns its figures.

  The output of the trainer goes to WORKDIR/log.txt; a terminal shows one line.

  Args:
    whole: the config of the run.
    workdir: the workdir of the run; an existing run is continued.

  Returns:
    Held-out metrics by name, of a synthetic task 'answer_accuracy' for all
    sizes, 'answer_accuracy_16' for one size and 'answer_loss' in nats; 'tokens' of
    training; 'seconds' of all steps; 'parameters'; 'state_bytes', the decode
    state of one sequence; 'curve', a list of [steps, answer_accuracy]; and
    'diverged', in which case the metrics are None.

  Raises:
    ValueError: a setting is wrong.
    RuntimeError: the run could not be saved, or does not fit into memory.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  try:
    with _quietly(workdir, whole['steps'], workdir.name) as advance:
      stopped_by = _train(whole, workdir, advance)
    diverged = False
  except loop.Diverged:
    stopped_by, diverged = None, True
  except (checkpoint.NotSaved, memory.TooLittle) as error:
    raise RuntimeError(str(error)) from error
  if stopped_by:  # the run is saved, so that the signal can take effect
    signal.raise_signal(stopped_by)
    raise KeyboardInterrupt  # even if SIGINT is ignored
  return _figures(workdir, whole, diverged)


def chance(settings: Mapping[str, Any]) -> float:
  """Returns the share of held-out answers that guessing gets right.

  Args:
    settings: see `config`.
  """
  data = config(settings)['data']
  split = split_lib.Split(data['source'], data['synthetic'], held_out=True)
  answers = [_num_answers(split.only(size)) for size in split.sizes]
  chances = [split.chance(size) for size in split.sizes]
  return float(np.average(chances, weights=answers))


def _num_answers(split):
  """The mean number of answers of a sample; all sizes are equally frequent."""
  targets = split.draw(0, None, batch_size=1).targets
  return int((targets != task.NO_ANSWER).sum())


def _train(whole, workdir, advance):
  """Trains; returns the signal that has stopped the run, or None."""
  choice = run_kernels.of_run(whole, workdir, distributed.Peers())
  run = run_lib.Run(whole, workdir, choice=choice)
  with contextlib.ExitStack() as stack:
    stack.enter_context(run)  # closed if it does not compile
    compiled = program.compile_step(run)
    state, _ = run.start()
    advance(int(state.step))
    stack.pop_all()  # the loop closes it from here on

  def step(state: Any, batch: Any) -> Any:
    advance(1)
    return compiled(state, batch)

  return loop.train(run, state, step)


@contextlib.contextmanager
def _quietly(
    workdir: pathlib.Path, steps: int, name: str
) -> Iterator[Callable[[int], Any]]:
  """Yields a function that moves the progress bar; hides all other output."""
  with (
      tqdm.tqdm(
          desc=name, total=steps, unit='step', leave=False, disable=None
      ) as bar,
      open(workdir / 'log.txt', 'a', encoding='utf-8') as log,
      contextlib.redirect_stdout(log),
      contextlib.redirect_stderr(log),
  ):
    yield bar.update


def _figures(workdir, whole, diverged):
  run = curves.read([workdir])[0]
  last = {
      name.removeprefix(_HELD_OUT): run.last(name)
      for name in run.curves
      if name.startswith(_HELD_OUT)
  }
  if diverged:
    last = dict.fromkeys([*last, SCORE, LOSS])
  per_step = whole['batch_size'] * whole['sequence_length']
  model = recorded_config.read(workdir / 'config.json')['model']
  return {
      **last,
      'diverged': diverged,
      'tokens': run.step * per_step,
      'seconds': run.curves['loss'].seconds[-1],
      'parameters': sum(cost.parameters(model).values()),
      'state_bytes': cost.state_bytes(model, length=whole['sequence_length']),
      'curve': _curve(run, per_step),
  }


def _curve(run, per_step):
  curve = run.curves.get(_HELD_OUT + SCORE)
  if curve is None:
    return []
  steps = np.round(curve.tokens / per_step).astype(int)
  return np.stack([steps, curve.values], axis=1)
