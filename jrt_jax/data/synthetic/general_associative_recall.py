"""General associative recall: the values of queries, some of which have none.

`k v` for each pair; the question lists the queries, `1 q … 2`, and the reply
`3 q q …` asks for them in that order: the answer at a query is its value, or
NOTHING if it is no key, as half of them are. A size is the number of pairs;
there are as many queries. With `order='QD'` queries come first.

It is as hard as set disjointness: each of the two becomes the other below.

Source: Arora et al. 2024, definition G.24, propositions G.25 and G.26,
https://arxiv.org/abs/2407.05483.
"""

from typing import NamedTuple

import numpy as np

from jrt_jax.data.synthetic import task as task_lib

NOTHING = 0  # the answer of a query that is no key
ABSENT = 0.5  # the share of such queries, rounded down


class Recall(NamedTuple):
  """A problem; keys differ, and so do queries."""

  keys: np.ndarray  # int [n]
  values: np.ndarray  # int [n], none of them NOTHING
  queries: np.ndarray  # int [m]


class Sets(NamedTuple):
  """Two sets in the order in which they are read; what do they share?"""

  a: np.ndarray  # int [n]
  b: np.ndarray  # int [m]


def draw(
    rng: np.random.Generator, size: int, settings: task_lib.Settings
) -> task_lib.Sample:
  """See `task.Task`."""
  queries = task_lib.num_asked(size, settings)
  absent = int(ABSENT * queries)
  key_ids, value_ids = task_lib.halves(settings)
  drawn = task_lib.choose(rng, key_ids, size + absent, 'keys and other queries')
  keys = drawn[:size]
  values = task_lib.choose(rng, value_ids, size, 'values')
  problem = Recall(
      keys, values, rng.permutation(drawn[size - queries + absent :])
  )
  answers = solve(problem)
  return task_lib.sample(
      settings['order'],
      task_lib.pairs(keys, values),
      (task_lib.QUESTION, *problem.queries, task_lib.END),
      np.concatenate([[task_lib.REPLY], problem.queries]),
      np.concatenate([[task_lib.NO_ANSWER], answers]),
  )


def chance(size: int, settings: task_lib.Settings) -> float:
  """Of answering NOTHING always, or any value of the prompt if that is more."""
  queries = task_lib.num_asked(size, settings)
  nothing = int(ABSENT * queries) / queries
  return max(nothing, (1 - nothing) / size)


def solve(problem: Recall) -> np.ndarray:
  """Returns the value of each query, or NOTHING, int [m]."""
  found = dict(zip(problem.keys.tolist(), problem.values.tolist()))
  return np.array(
      [found.get(q, NOTHING) for q in problem.queries.tolist()], int
  )


def intersection(sets: Sets) -> np.ndarray:
  """Returns what two sets share, in the order of B."""
  return sets.b[np.isin(sets.b, sets.a)]


def from_sets(sets: Sets) -> Recall:
  """Returns the problem whose answers, but NOTHING, are the intersection.

  Every element of A is a key with itself as value, and B is asked for; ids must
  be above NOTHING. Source: proposition G.25.
  """
  return Recall(sets.a, sets.a, sets.b)


def to_sets(problem: Recall, num_bits: int) -> list[Sets]:
  """Returns problems of sets from which `from_intersections` has the answers.

  In the first, A are the keys; in the one of bit i, those keys whose value has
  that bit. B are the queries in each. Source: proposition G.26.

  Args:
    problem: with values below 2 ** num_bits.
    num_bits: of a value.
  """
  keys, values, queries = problem
  return [Sets(keys, queries)] + [
      Sets(keys[values >> i & 1 == 1], queries) for i in range(num_bits)
  ]


def from_intersections(
    queries: np.ndarray, shared: list[np.ndarray]
) -> np.ndarray:
  """Returns the value of each query, or NOTHING, int [m].

  Args:
    queries: int [m], of the problem.
    shared: the intersections of what `to_sets` returned.
  """
  present, *by_bit = [np.isin(queries, x) for x in shared]
  values = sum(bit.astype(int) << i for i, bit in enumerate(by_bit))
  return np.where(present, values, NOTHING)


TASK = task_lib.Task(draw, chance, num_ids=200, sizes=(8, 16, 32))
