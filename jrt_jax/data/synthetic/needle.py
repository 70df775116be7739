"""Needle: key-value pairs `k v`, of which a few are asked for.

The question is `1 k … 2` and the reply `3 k …`, with
`config.data.synthetic.queries` keys, one by default. The size is the number of
pairs. The probe `evaluation.synthetic.needle` has the same form, without
training.
"""

import numpy as np

from jrt_jax.data.synthetic import task as task_lib


def draw(
    rng: np.random.Generator, size: int, settings: task_lib.Settings
) -> task_lib.Sample:
  """See `task.Task`."""
  return _draw(rng, size, settings, slice(_num_needles(size, settings)))


def draw_unnamed(
    rng: np.random.Generator, size: int, settings: task_lib.Settings
) -> task_lib.Sample:
  """See `task.Task`: the reply asks for equally many other keys."""
  count = _num_needles(size, settings)
  if 2 * count > size:
    raise ValueError(
        f'config.data.synthetic.queries must be at most half of {size} pairs to'
        f' ask for keys that were not named, got {count}'
    )
  return _draw(rng, size, settings, slice(count, 2 * count))


def _draw(rng, size, settings, asked):
  """The question names the first keys of a random order, the reply others."""
  key_ids, value_ids = task_lib.halves(settings)
  keys = task_lib.choose(rng, key_ids, size, 'keys')
  values = task_lib.choose(rng, value_ids, size, 'values')
  order = rng.permutation(size)
  named, asked = order[: _num_needles(size, settings)], order[asked]
  return task_lib.sample(
      settings['order'],
      task_lib.pairs(keys, values),
      (task_lib.QUESTION, *keys[named], task_lib.END),
      *task_lib.asked(keys[asked], values[asked]),
  )


def chance(size: int, settings: task_lib.Settings) -> float:
  """The accuracy of guessing any value of the prompt."""
  del settings
  return 1 / size


def _num_needles(size, settings):
  return min(settings['queries'] or 1, size)


TASK = task_lib.Task(
    draw, chance, num_ids=100, sizes=(8, 16, 24), draw_unnamed=draw_unnamed
)
