"""Selective recall: a question after the items says which are needed.

The document is `c k v` for each item, with a category c; the question names one
category, `1 c 2`; the reply has the keys of its items in random order, `3 k k
…`, and the answer at each key is its value. A model that knows the question
while it stores the items needs to keep one category only; a model that does not
must keep all. The size is the number of items. Categories have the same number
of items, or one more; the config gives the number of categories, or
`items_per_category` does.

All keys of the reply have labels, so that a sequence has many. The task is
about what section 3 of the JRT paper calls selection,
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
        f'{size} items must have more than one category to ask for one that was'
        ' not named: see config.data.synthetic.categories'
    )
  return _draw(rng, size, settings, asked=1)


def _draw(rng, size, settings, *, asked):
  """The question names the first category, the reply is about number `asked`."""
  C = _num_categories(size, settings)
  if C > settings['categories']:
    raise ValueError(
        f'config.data.synthetic.categories must be at least {C} for {size}'
        f' items with {settings["items_per_category"]} in each category, got'
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
  """The accuracy of guessing any value of the category."""
  C = _num_categories(size, settings)
  items, larger = divmod(size, C)  # `larger` categories have one more item
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
