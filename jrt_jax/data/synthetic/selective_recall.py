"""Selective recall: a question after the items tells which will be needed.

`c k v` for each item; the question names one category, `1 c 2`; then the keys
of its items come in random order, `3 k k …`, and the answer at each is its
value. A model that has seen the question, when it stores the items, can keep
one category of them; one that has not must keep all. A size is the number of
items. Categories have equally many of them, or one more; there are as many as
the config says, or as `items_per_category` fills.

Every key that is asked is a label, so that there are many in a sequence. The
question is of what the JRT paper calls selection, section 3 of
https://arxiv.org/abs/2407.05483.
"""

import numpy as np

from jrt_jax.data.synthetic import task as task_lib


def draw(
    rng: np.random.Generator, size: int, settings: task_lib.Settings
) -> task_lib.Sample:
  """See `task.Task`."""
  return _draw(rng, size, settings, asked=0)


def draw_unnamed(
    rng: np.random.Generator, size: int, settings: task_lib.Settings
) -> task_lib.Sample:
  """See `task.Task`: the reply asks for the keys of another category."""
  if _num_categories(size, settings) < 2:
    raise ValueError(
        f'{size} items must have more than one category, if another is asked for'
        ' than was named: see config.data.synthetic.categories'
    )
  return _draw(rng, size, settings, asked=1)


def _draw(rng, size, settings, *, asked):
  """The question names category 0 of an order, the reply asks for another."""
  C = _num_categories(size, settings)
  if C > settings['categories']:
    raise ValueError(
        f'config.data.synthetic.categories must be at least {C} for {size}'
        f' items, {settings["items_per_category"]} in each, got'
        f' {settings["categories"]}'
    )
  first = task_lib.NUM_MARKS
  key_ids, value_ids = task_lib.halves(settings, first + settings['categories'])
  keys = task_lib.choose(rng, key_ids, size, 'keys')
  values = task_lib.choose(rng, value_ids, size, 'values')
  names = rng.choice(settings['categories'], C, replace=False) + first
  categories = names[rng.permutation(size) % C]
  order = rng.permutation(names)
  members = rng.permutation(np.flatnonzero(categories == order[asked]))
  members = members[: task_lib.num_asked(size // C, settings)]
  return task_lib.sample(
      settings['order'],
      task_lib.pairs(categories, keys, values),
      (task_lib.QUESTION, order[0], task_lib.END),
      *task_lib.asked(keys[members], values[members]),
  )


def chance(size: int, settings: task_lib.Settings) -> float:
  """Of guessing any value of the category."""
  C = _num_categories(size, settings)
  items, larger = divmod(size, C)  # which have one more
  return ((C - larger) / items + larger / (items + 1)) / C


def _num_categories(size, settings):
  if own := settings['items_per_category']:
    return max(size // own, 1)
  return min(settings['categories'], size)


TASK = task_lib.Task(
    draw,
    chance,
    num_ids=1024,
    sizes=(16, 32, 64, 128),
    draw_unnamed=draw_unnamed,
    settings=(
        *task_lib.OF_EVERY_TASK,
        *('order', 'queries', 'categories', 'items_per_category'),
    ),
)
