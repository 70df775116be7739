"""Set disjointness: which element do two sets share?

The prompt is `1 A 2 B 3`, and the answer at 3 is the element in both sets. A
and B are drawn from two halves of the vocabulary, which is shuffled anew for
each sample; then an element of A replaces one of B. A model that reads A and
then B must keep all of A; a model that has seen both can keep the smaller set.
A size is (|A|, |B|).

Variants: with `intersections` r, the sets share r elements, which are asked for
in the order of B; with `binary`, the sets share one element or none, and the
answer is YES or NO. (The paper avoids this variant: models stay at 50 %.)

Source: Arora et al. 2024, section 3 and its code,
https://arxiv.org/abs/2407.05483.
"""

import numpy as np

from jrt_jax.data.synthetic import task as task_lib

FIRST, SECOND = 1, 2  # marks: A follows, B follows
YES, NO = 4, 5  # in the binary variant, whose elements begin after them

_TRAINED = ((4, 16), (8, 32), (16, 64), (4, 128), (16, 256), (4, 256))
_TESTED = ((1, 32), (4, 32), (4, 128), (16, 256), (4, 256))
_TESTED += ((16, 512), (4, 512), (8, 768), (16, 768), (4, 768))


def draw(
    rng: np.random.Generator,
    size: tuple[int, int],
    settings: task_lib.Settings,
) -> task_lib.Sample:
  """See `task.Task`."""
  shared = settings['intersections']
  if shared > min(size) or (settings['binary'] and shared > 1):
    raise ValueError(
        'config.data.synthetic.intersections must be at most'
        f' {1 if settings["binary"] else min(size)} with sets of'
        f' {size}{" and binary" if settings["binary"] else ""}, got {shared}'
    )
  a, b = _sets(rng, size, settings)
  answers = np.zeros(0, int)
  if not settings['binary'] or rng.random() < 0.5:
    places = np.sort(rng.choice(len(b), shared, replace=False))
    answers = b[places] = rng.choice(a, shared, replace=False)
  if settings['binary']:
    answers = np.array([YES if len(answers) else NO])
  return task_lib.sample(
      settings['order'],
      np.concatenate([[FIRST], a, [SECOND], b]),
      (),
      np.concatenate([[task_lib.REPLY], answers[:-1]]),
      answers,
  )


def chance(size: tuple[int, int], settings: task_lib.Settings) -> float:
  """The accuracy of guessing elements of the smaller set, each of them once."""
  if settings['binary']:
    return 0.5
  left = min(size) - np.arange(settings['intersections'])
  return float(np.mean(1 / left))


def _sets(rng, size, settings):
  """Returns two sets without a common element."""
  first = NO + 1 if settings['binary'] else task_lib.NUM_MARKS
  ids = rng.permutation(np.arange(first, max(settings['num_ids'], first)))
  pools = np.split(ids, [settings['num_ids'] // 2])
  for pool, number in zip(pools, size):
    if number > len(pool):
      raise ValueError(
          f'config.data.synthetic.num_ids must leave {number} elements for'
          f' sets of {size}, got {len(pool)}'
      )
  return [pool[:number] for pool, number in zip(pools, size)]


def _both_orders(sizes):
  return tuple(order for size in sizes for order in (size, size[::-1]))


TASK = task_lib.Task(
    draw,
    chance,
    num_ids=2048,
    sizes=_both_orders(_TRAINED),
    held_out_sizes=_both_orders(_TESTED),
    size_is='a pair: elements of A, of B',
    settings=(
        *task_lib.OF_EVERY_TASK,
        *('order', 'intersections', 'binary'),
    ),
)
