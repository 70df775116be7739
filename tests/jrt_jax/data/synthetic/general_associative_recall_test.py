import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic import general_associative_recall as recall

SETTINGS = base.get_config().data.synthetic.to_dict() | {'num_ids': 40}


@pytest.fixture(params=range(20))
def rng(request):
  return np.random.default_rng(request.param)


def random_sets(rng):
  sizes = rng.integers(1, 9, 2)
  return recall.Sets(
      *(rng.choice(np.arange(1, 12), n, replace=False) for n in sizes)
  )


def random_problem(rng):
  n, m = rng.integers(1, 9, 2)
  return recall.Recall(
      rng.choice(np.arange(1, 12), n, replace=False),
      rng.integers(1, 64, n),
      rng.choice(np.arange(1, 12), m, replace=False),
  )


def test_a_sample_asks_for_keys_and_for_as_many_others():
  sample = recall.TASK.draw(np.random.default_rng(0), 4, SETTINGS)
  tokens = sample.tokens.tolist()
  keys, values, rest = tokens[:8:2], tokens[1:8:2], tokens[8:]
  queries = rest[1:5]
  assert rest == [1, *queries, 2, 3, *queries] and sample.prompt_len == 14
  assert len({*queries}) == 4 and len({*queries} & {*keys}) == 2
  values = dict(zip(keys, values))
  expected = [values.get(query, recall.NOTHING) for query in queries]
  assert sample.targets[-4:].tolist() == expected


def test_sets_become_a_problem_whose_answers_are_the_intersection(rng):
  sets = random_sets(rng)
  answers = recall.solve(recall.from_sets(sets))
  expected = [x for x in sets.b.tolist() if x in sets.a.tolist()]
  assert answers[answers != recall.NOTHING].tolist() == expected
  assert recall.intersection(sets).tolist() == expected


def test_a_problem_becomes_sets_whose_intersections_are_the_answers(rng):
  problem = random_problem(rng)
  sets = recall.to_sets(problem, num_bits=6)
  assert len(sets) == 7
  shared = [recall.intersection(x) for x in sets]
  answers = recall.from_intersections(problem.queries, shared)
  np.testing.assert_array_equal(answers, recall.solve(problem))


def test_sets_survive_the_way_to_a_problem_and_back(rng):
  sets = random_sets(rng)
  problem = recall.from_sets(sets)
  first, *_ = recall.to_sets(problem, num_bits=4)
  np.testing.assert_array_equal(first.a, sets.a)
  np.testing.assert_array_equal(first.b, sets.b)
