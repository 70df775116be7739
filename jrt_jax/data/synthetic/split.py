"""A split of a synthetic task: its samples are drawn, not read from files."""

from collections.abc import Mapping
import copy
import json
from typing import Any
import zlib

import numpy as np

from jrt_jax.data.synthetic import curriculum
from jrt_jax.data.synthetic import task as task_lib
from jrt_jax.data.synthetic import tasks

# The seed of held-out samples, the same for all runs. Grain draws the training
# samples, with another kind of generator.
_HELD_OUT_SEED = 20_240_705


class Ids:
  """Stands in for a tokenizer: ids without text.

  Attributes:
    size: number of ids.
    eos_id: -1, since there is none.
    fingerprint: a short string that identifies the ids.
  """

  eos_id = -1

  def __init__(self, size: int):
    self.size = size
    self.fingerprint = f'{size} ids'


class Split:
  """One split of a task.

  Args:
    name: the name of the task.
    settings: `config.data.synthetic`.
    held_out: whether this is the split 'validation'. Its samples depend on
      their size and number only, not on the seed of a run.

  Attributes:
    name: the name of the task.
    sizes: the sizes of the samples.
    num_ids: number of ids; all ids are below it.
    fingerprint: a short string that identifies the split.

  Raises:
    ValueError: a setting is wrong.
  """

  def __init__(self, name: str, settings: Mapping[str, Any], *, held_out: bool):
    self.name = name
    self._task = tasks.TASKS[name]
    self.num_ids = settings['num_ids'] or self._task.num_ids
    self._settings = {**settings, 'num_ids': self.num_ids}
    self.sizes = _sizes(self._task, settings, held_out)
    self._held_out = held_out
    if not held_out:
      curriculum.check(settings, len(self.sizes))
    # The samples of each size must not change when a run continues.
    samples = [self._example_of(size).tokens for size in self.sizes]
    settings = json.dumps(self._settings, sort_keys=True).encode()
    checksum = zlib.crc32(
        np.concatenate(samples).tobytes(), zlib.crc32(settings)
    )
    self.fingerprint = f'{name} {checksum:08x}'

  def only(self, size: task_lib.Size) -> 'Split':
    """Returns the split with samples of one size only."""
    part = copy.copy(self)
    part.sizes = (size,)
    return part

  def unnamed(self) -> 'Split | None':
    """Returns samples whose reply asks for items that were not named.

    It has the sizes that leave enough such items; None if no size does.
    """
    if (draw := self._task.draw_unnamed) is None:
      return None
    part = copy.copy(self)
    part._task = self._task._replace(draw=draw)
    part.sizes = tuple(size for size in self.sizes if part._has(size))
    return part if part.sizes else None

  def draw(
      self, index: int, rng: np.random.Generator, *, batch_size: int
  ) -> task_lib.Sample:
    """Returns a sample.

    Args:
      index: the number of the sample in the whole run.
      rng: the generator of this sample; unused for held-out samples.
      batch_size: number of samples in a step.
    """
    if self._held_out:
      size = self.sizes[index % len(self.sizes)]
      rng = np.random.default_rng([_HELD_OUT_SEED, *np.ravel(size), index])
    else:
      known = curriculum.known(self.sizes, self._settings, index // batch_size)
      size = known[int(rng.integers(len(known)))]
    return self._task.draw(rng, size, self._settings)

  def chance(self, size: task_lib.Size) -> float:
    """Returns the accuracy of guessing; see `task.Task`."""
    return self._task.chance(size, self._settings)

  def check_length(self, sequence_length: int) -> None:
    """Raises ValueError unless all samples fit in a sequence."""
    for size in self.sizes:
      needed = len(self._example_of(size).tokens)
      if needed > sequence_length:
        raise ValueError(
            f'config.sequence_length must be at least {needed} for'
            f' config.data.source={self.name!r} with the size {size}, got'
            f' {sequence_length}'
        )

  def prompts(self, number: int = 8) -> list[np.ndarray]:
    """Returns some prompts of each size, int [n]."""
    rng = np.random.default_rng(_HELD_OUT_SEED)
    drawn = [
        self._task.draw(rng, size, self._settings)
        for size in self.sizes
        for _ in range(number)
    ]
    return [sample.tokens[: sample.prompt_len] for sample in drawn]

  def _has(self, size):
    try:
      self._example_of(size)
    except ValueError:
      return False
    return True

  def _example_of(self, size):
    rng = np.random.default_rng(_HELD_OUT_SEED)
    return self._task.draw(rng, size, self._settings)


def splits(name: str, settings: Mapping[str, Any]) -> dict[str, Split]:
  """Returns the splits 'train' and 'validation' of a task.

  Args:
    name: the name of the task.
    settings: `config.data.synthetic`.
  """
  return {
      'train': Split(name, settings, held_out=False),
      'validation': Split(name, settings, held_out=True),
  }


def size_name(size: task_lib.Size) -> str:
  """Returns a size as it appears in the name of a metric: '16', '64x4'."""
  return 'x'.join(map(str, np.ravel(size)))


def _sizes(task, settings, held_out):
  """Returns the sizes of a split: ints, or tuples of two."""
  sizes = settings['sizes'] or task.sizes
  if held_out:
    own = () if settings['sizes'] else task.held_out_sizes
    sizes = settings['held_out_sizes'] or own or sizes
  sizes = tuple(tuple(x) if isinstance(x, list | tuple) else x for x in sizes)
  for size in sizes:
    if isinstance(size, tuple) != task.size_is.startswith('a pair'):
      raise ValueError(
          f'config.data.synthetic.sizes must each be {task.size_is}, got {size}'
      )
  return sizes
