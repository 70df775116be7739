"""Multi-hop pairs: the value of a pair is the key of the next one.

There are chains x0 → x1 → … → xh of h = `config.data.synthetic.hops` pairs. The
size is the number of pairs; if it is not a multiple of h, one chain is shorter.
The document has all pairs `x y` in random order. The question names the starts
of chains, `1 x … 2`, and the reply asks for their ends, `3 x0 …`: the answer at
x0 is xh, h hops away.
"""

import numpy as np

from jrt_jax.data.synthetic import task as task_lib


def draw(
    rng: np.random.Generator, size: int, settings: task_lib.Settings
) -> task_lib.Sample:
  """See `task.Task`."""
  lengths = _lengths(size, settings)
  ids = np.arange(task_lib.NUM_MARKS, settings['num_ids'])
  drawn = task_lib.choose(rng, ids, size + len(lengths), 'elements of chains')
  chains = np.split(drawn, np.cumsum([n + 1 for n in lengths])[:-1])
  links = np.concatenate([np.stack([x[:-1], x[1:]], axis=1) for x in chains])
  full = [x for x, n in zip(chains, lengths) if n == settings['hops']]
  number = task_lib.num_asked(len(full), settings)
  starts, ends = np.array([(x[0], x[-1]) for x in full[:number]]).T
  return task_lib.sample(
      settings['order'],
      rng.permutation(links).ravel(),
      (task_lib.QUESTION, *starts, task_lib.END),
      *task_lib.asked(starts, ends),
  )


def chance(size: int, settings: task_lib.Settings) -> float:
  """The accuracy of guessing any end of a chain."""
  return 1 / len(_lengths(size, settings))


def _lengths(size, settings):
  """The number of pairs of each chain."""
  hops = settings['hops']
  if hops > size:
    raise ValueError(
        f'config.data.synthetic.hops must be at most the number of pairs,'
        f' {size}, got {hops}'
    )
  rest = size % hops
  return [hops] * (size // hops) + ([rest] if rest else [])


TASK = task_lib.Task(
    draw,
    chance,
    num_ids=100,
    sizes=(8, 16, 32),
    settings=(*task_lib.OF_EVERY_TASK, 'order', 'queries', 'hops'),
)
