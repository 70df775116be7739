import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic import set_disjointness
from jrt_jax.data.synthetic.set_disjointness import TASK

SETTINGS = base.get_config().data.synthetic.to_dict() | {'num_ids': 2048}


def draw(size, seed=0, **changes):
  return TASK.draw(np.random.default_rng(seed), size, SETTINGS | changes)


def test_the_format_is_that_of_the_papers_code():
  rng = np.random.default_rng(3)
  ids = rng.permutation(np.arange(4, 2048))
  a, b = ids[:3], ids[1024:1026].copy()  # from the first half, and the second
  place = rng.choice(2, 1, replace=False)
  b[place] = answer = rng.choice(a, 1, replace=False)
  sample = draw((3, 2), seed=3)
  assert sample.tokens.tolist() == [1, *a, 2, *b, 3]
  assert sample.targets.tolist() == [-1] * 7 + answer.tolist()
  assert sample.prompt_len == 7


def test_the_sizes_are_those_of_the_papers_code():
  small_and_large = lambda sizes: {(*sorted(size),) for size in sizes}
  both_orders = lambda sizes: {x for s in sizes for x in (s, s[::-1])}
  trained = {(4, 16), (8, 32), (16, 64), (4, 128), (16, 256), (4, 256)}
  tested = {(1, 32), (4, 32), (4, 128), (16, 256), (4, 256)}
  tested |= {(16, 512), (4, 512), (8, 768), (16, 768), (4, 768)}
  for sizes, expected in (
      (TASK.sizes, trained),
      (TASK.held_out_sizes, tested),
  ):
    assert {*sizes} == both_orders(expected) and len(sizes) == 2 * len(expected)
    assert small_and_large(sizes) == expected


def test_each_element_is_read_once_but_the_answer():
  for seed in range(20):
    sample = draw((16, 64), seed)
    content = sample.tokens[sample.tokens > 3]
    elements, counts = np.unique(content, return_counts=True)
    assert elements[counts == 2] == sample.targets[-1]
    assert (counts <= 2).all() and (counts == 2).sum() == 1


def test_any_id_may_be_in_either_set():
  in_a = np.zeros(12, bool)
  for seed in range(100):
    in_a[draw((3, 2), seed, num_ids=12).tokens[1:4]] = True
  assert in_a[4:].all() and not in_a[:4].any()


@pytest.mark.parametrize('number', [2, 4])
def test_shared_elements_are_asked_in_the_order_of_the_second_set(number):
  for seed in range(20):
    sample = draw((6, 9), seed, intersections=number)
    a, b = sample.tokens[1:7], sample.tokens[8:17]
    shared = b[np.isin(b, a)]
    assert len(shared) == number
    assert sample.targets[sample.prompt_len :].tolist() == shared.tolist()
    reply = sample.tokens[sample.prompt_len :].tolist()
    assert reply == [3, *shared[:-1]]


def test_the_binary_answer_is_yes_as_often_as_no():
  yes = 0
  for seed in range(400):
    sample = draw((4, 6), seed, binary=True)
    meet = len(np.intersect1d(sample.tokens[1:5], sample.tokens[6:12])) == 1
    expected = set_disjointness.YES if meet else set_disjointness.NO
    assert sample.targets[-1] == expected
    assert (sample.tokens[1:5] > 5).all()
    yes += meet
  assert 160 < yes < 240


def test_more_than_can_be_shared_is_refused():
  with pytest.raises(ValueError, match='intersections must be at most 2 with'):
    draw((2, 5), intersections=3)
  with pytest.raises(ValueError, match='intersections must be at most 1 with'):
    draw((2, 5), intersections=2, binary=True)
