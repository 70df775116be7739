from typing import NamedTuple

import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic.general_associative_recall import NOTHING
from jrt_jax.data.synthetic.general_associative_recall import TASK
from jrt_jax.data.synthetic.general_associative_recall import solve

SETTINGS = base.get_config().data.synthetic.to_dict() | {'num_ids': 40}


class Sets(NamedTuple):
  a: np.ndarray
  b: np.ndarray

  def shared(self):
    return self.b[np.isin(self.b, self.a)]


class Recall(NamedTuple):
  keys: np.ndarray
  values: np.ndarray
  queries: np.ndarray


def from_sets(sets):
  """Proposition G.25: keys that are their own values, and B is asked for."""
  return Recall(sets.a, sets.a, sets.b)


def to_sets(problem, num_bits):
  """Proposition G.26: the keys, and for each bit those whose value has it."""
  keys, values, queries = problem
  return [Sets(keys, queries)] + [
      Sets(keys[values >> i & 1 == 1], queries) for i in range(num_bits)
  ]


def from_intersections(queries, shared):
  present, *bits = [np.isin(queries, x) for x in shared]
  values = sum(bit.astype(int) << i for i, bit in enumerate(bits))
  return np.where(present, values, NOTHING)


@pytest.fixture(params=range(20))
def rng(request):
  return np.random.default_rng(request.param)


def some(rng):
  return rng.choice(np.arange(1, 12), rng.integers(1, 9), replace=False)


def test_a_sample_asks_for_keys_and_for_as_many_others():
  sample = TASK.draw(np.random.default_rng(0), 4, SETTINGS)
  tokens = sample.tokens.tolist()
  keys, values, rest = tokens[:8:2], tokens[1:8:2], tokens[8:]
  queries = rest[1:5]
  assert rest == [1, *queries, 2, 3, *queries] and sample.prompt_len == 14
  assert len({*queries}) == 4 and len({*queries} & {*keys}) == 2
  values = dict(zip(keys, values))
  expected = [values.get(query, NOTHING) for query in queries]
  assert sample.targets[-4:].tolist() == expected


def test_pairs_are_asked_for_wherever_they_stand():
  asked = np.zeros(6)
  for seed in range(300):
    tokens = TASK.draw(np.random.default_rng(seed), 6, SETTINGS).tokens
    asked += np.isin(tokens[:12:2], tokens[-6:])
  # Each in half of the samples: 150, and 4.6 standard deviations of 8.7.
  assert ((110 < asked) & (asked < 190)).all(), asked


def test_sets_become_a_problem_whose_answers_are_the_intersection(rng):
  sets = Sets(some(rng), some(rng))
  answers = solve(*from_sets(sets))
  expected = [x for x in sets.b.tolist() if x in sets.a.tolist()]
  assert answers[answers != NOTHING].tolist() == expected


def test_a_problem_becomes_sets_whose_intersections_are_the_answers(rng):
  keys, queries = some(rng), some(rng)
  problem = Recall(keys, rng.integers(1, 64, len(keys)), queries)
  shared = [sets.shared() for sets in to_sets(problem, num_bits=6)]
  answers = from_intersections(queries, shared)
  np.testing.assert_array_equal(answers, solve(*problem))
