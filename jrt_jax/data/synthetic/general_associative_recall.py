"""General associative recall: values of queries, half of which have none.

The document is `k v` for each pair; the question lists the queries, `1 q … 2`,
and the reply `3 q q …` asks for them in that order. The answer at a query is
its value, or NOTHING if it is not a key, as for half of the queries. The size
is the number of pairs, and also of queries. With `order='QD'` queries come
first.

It is as hard as set disjointness: each can be reduced to the other.

Source: Arora et al. 2024, definition G.24, propositions G.25 and G.26,
https://arxiv.org/abs/2407.05483.
"""

import numpy as np

from jrt_jax.data.synthetic import task as task_lib

NOTHING = 0  # the answer to a query that is not a key
ABSENT = 0.5  # the fraction of such queries, whose number is rounded down


def draw(
    rng: np.random.Generator, size: int, settings: task_lib.Settings
) -> task_lib.Sample:
  """See `task.Task`."""
  num_queries = task_lib.num_asked(size, settings)
  absent = int(ABSENT * num_queries)
  key_ids, value_ids = task_lib.halves(settings)
  drawn = task_lib.choose(rng, key_ids, size + absent, 'keys and other queries')
  keys, others = drawn[:size], drawn[size:]
  values = task_lib.choose(rng, value_ids, size, 'values')
  present = rng.choice(keys, num_queries - absent, replace=False)
  queries = rng.permutation(np.concatenate([present, others]))
  return task_lib.sample(
      settings['order'],
      task_lib.pairs(keys, values),
      (task_lib.QUESTION, *queries, task_lib.END),
      np.concatenate([[task_lib.REPLY], queries]),
      np.concatenate([[task_lib.NO_ANSWER], solve(keys, values, queries)]),
  )


def chance(size: int, settings: task_lib.Settings) -> float:
  """The accuracy of always answering NOTHING, or any value if that is more."""
  queries = task_lib.num_asked(size, settings)
  nothing = int(ABSENT * queries) / queries
  return max(nothing, (1 - nothing) / size)


def solve(
    keys: np.ndarray, values: np.ndarray, queries: np.ndarray
) -> np.ndarray:
  """Returns the value of each query, or NOTHING, int [m].

  Args:
    keys, values: int [n]; keys differ.
    queries: int [m].
  """
  found = dict(zip(keys.tolist(), values.tolist()))
  return np.array([found.get(q, NOTHING) for q in queries.tolist()], int)


TASK = task_lib.Task(draw, chance, num_ids=200, sizes=(8, 16, 32))
