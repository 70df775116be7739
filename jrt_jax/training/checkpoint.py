"""Checkpoints: saved by Orbax in the background, verified before they are read.

workdir/checkpoints/<step>/
  params/         the flat dict of weights, which can be read alone
  train/          the step and the optimizer state; converted weights have none
  meta/           JSON from the caller, such as the place of the data iterator
  digests.json    digests of all files above. Orbax does not notice flipped
                  bits, and its errors do not distinguish a damaged file from a
                  checkpoint of another model

Orbax writes to <step>.orbax-checkpoint-tmp and then renames it: a directory
whose name is a number was once complete.
"""

from collections.abc import Iterator, Mapping
import contextlib
import pathlib
import re
from typing import Any

from absl import logging
import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from jrt_jax.runtime import distributed
from jrt_jax.training import checkpoint_integrity
from jrt_jax.training import checkpoint_reader


class NotSaved(Exception):
  """A checkpoint could not be written, or its numbers are not finite."""


class Checkpoints:
  """The checkpoints of one run; a context manager that waits for saves.

  Errors that Orbax logs are hidden, since it raises them as well.

  Args:
    workdir: the workdir of the run; checkpoints are in `checkpoints` below it.
    keep: number of newest checkpoints that are kept.
    keep_every: checkpoints at multiples of this step are kept too; 0: none.

  Raises:
    ValueError: no checkpoint would be kept.
  """

  def __init__(
      self, workdir: str | pathlib.Path, *, keep: int, keep_every: int
  ):
    if keep < 1:
      raise ValueError(
          f'config.keep_checkpoints must be positive, got {keep}: a run resumes'
          ' from the newest checkpoint'
      )
    self.directory = checkpoint_reader.directory(workdir)
    policies = ocp.training.preservation_policies
    kept = [policies.LatestN(keep)]
    if keep_every:
      kept.append(policies.EveryNSteps(keep_every))
    context = checkpoint_reader.context()
    context.async_options.post_finalization_callback = self._before_commit
    self._checkpointer = ocp.training.Checkpointer(
        self.directory,
        context=context,
        preservation_policy=policies.AnyPreservationPolicy(kept),
        cleanup_tmp_directories=True,
    )
    logging.get_absl_logger().addFilter(_is_news)

  def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
    """Starts to save; the state may be donated as soon as this returns.

    Waits for an earlier save first, and raises its error if it failed. A step
    that is already saved is not saved again.

    Args:
      step: the name of the checkpoint.
      state: a dataclass with the fields step, params and opt_state.
      meta: a JSON value.

    Raises:
      NotSaved: the state is not finite, or an earlier save failed.
    """
    self.check_finite(state)
    with self.writing():
      if step not in (saved.step for saved in self._checkpointer.checkpoints):
        self._checkpointer.save_checkpointables_async(
            step, {**checkpoint_reader.parts(state), 'meta': meta}, force=True
        )

  def check_finite(self, state: Any) -> None:
    """Raises NotSaved if training cannot go on from `state`."""
    if not _is_finite(state):
      raise NotSaved(
          f'weights or moments at step {int(state.step)} are not finite: the'
          f' same command continues from {self._last()}'
      )

  def save_params(
      self, params: Mapping[str, jax.Array], meta: Mapping[str, Any]
  ) -> None:
    """Saves weights only, as step 0: runs can start from them, not resume."""
    self._checkpointer.save_checkpointables(
        0, {'params': params, 'meta': meta}, force=True
    )

  def restore_latest(self, abstract_state: Any) -> tuple[Any, Any] | None:
    """Returns (state, meta) of the newest intact checkpoint, or None.

    Newer checkpoints that are damaged, or whose numbers are not finite, are
    renamed to <step>.damaged with a warning.

    Args:
      abstract_state: a dataclass as in `save`; its leaves are the shapes,
        dtypes and shardings to restore.

    Raises:
      ValueError: every checkpoint is damaged, or the newest intact one is of
        another model or has weights only.
    """
    ruined = {}
    while True:
      path, damaged = checkpoint_integrity.newest(self.directory, ruined=ruined)
      if path is None:
        return None
      state, meta = checkpoint_reader.load_state(path, abstract_state)
      if _is_finite(state):
        break
      del state  # there may be no memory for two
      ruined[path.name] = 'its numbers are not finite'
    distributed.from_first(lambda: checkpoint_integrity.move_aside(damaged))
    self._checkpointer.reload()
    return state, meta

  def wait(self) -> None:
    """Blocks until the last save is committed; raises NotSaved if it failed."""
    with self.writing():
      self._checkpointer.wait()

  def close(self) -> None:
    """Waits and releases threads; raises NotSaved if the last save failed."""
    try:
      with self.writing():
        self._checkpointer.close()
    finally:
      logging.get_absl_logger().removeFilter(_is_news)

  @contextlib.contextmanager
  def writing(self) -> Iterator[None]:
    """Turns write errors into NotSaved, which names the last checkpoint."""
    try:
      yield
    except (OSError, ValueError) as error:
      refusal = _refusal(error)
      if not refusal:
        raise
      raise NotSaved(
          f'{self.directory.parent} could not be written to: {refusal}; the'
          f' same command continues from {self._last()}'
      ) from error

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def _last(self):
    """The newest complete checkpoint, in words."""
    last = next(iter(checkpoint_integrity.saved(self.directory)), None)
    return f'step {last.name}' if last else 'the start, as nothing was saved'

  def _before_commit(self):
    """Adds digests; Orbax calls this after writing and before renaming."""
    for path in self.directory.glob('*.orbax-checkpoint-tmp'):
      checkpoint_integrity.seal(path)


def _is_finite(state):
  """Whether all weights and moments are finite.

  Scalars are not checked: one is the gradient norm, also of a skipped step.
  """
  arrays = jax.tree.leaves((state.params, state.opt_state))
  return bool(_all_finite([x for x in arrays if x.ndim]))


@jax.jit
def _all_finite(arrays):
  return jnp.array([jnp.isfinite(x).all() for x in arrays]).all()


def _refusal(error):
  """The error of the file system, or None; tensorstore raises a ValueError."""
  if isinstance(error, OSError):
    is_of_pipe = isinstance(error, ConnectionError)
    return None if is_of_pipe else error.strerror
  said = re.search(r'([^:]*) \[os_error_code=', str(error))
  return said and said.group(1).strip()


def _is_news(record):
  """Filters out errors that Orbax logs, except with --verbosity=1."""
  raised = record.exc_info and 'orbax' in record.pathname
  return not raised or logging.level_debug()
