import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic.selective_recall import TASK

SETTINGS = base.get_config().data.synthetic.to_dict()
SETTINGS |= {'num_ids': 48, 'categories': 4}


def draw(size, seed=0, **changes):
  return TASK.draw(np.random.default_rng(seed), size, SETTINGS | changes)


def parts(sample, size):
  items = sample.tokens[: 3 * size].reshape(size, 3)
  return items, sample.tokens[3 * size :].tolist()


def test_the_question_names_a_category_and_then_its_keys_are_asked():
  orders = set()
  for seed in range(30):
    sample = draw(8, seed)
    items, rest = parts(sample, 8)
    mark, category, end, reply, *asked = rest
    assert (mark, end, reply) == (1, 2, 3) and sample.prompt_len == 3 * 8 + 3
    own = items[items[:, 0] == category]
    assert len(own) == 2
    values = dict(own[:, 1:].tolist())
    assert {*asked} == {*values} and len(asked) == 2
    assert sample.targets[-2:].tolist() == [values[key] for key in asked]
    assert (sample.targets[:-2] == -1).all()
    orders.add(asked[0] == own[0, 1])
  assert orders == {True, False}


def test_categories_have_as_many_items_as_each_other_or_one_more():
  for seed in range(20):
    items, _ = parts(draw(10, seed), 10)
    _, counts = np.unique(items[:, 0], return_counts=True)
    assert sorted(counts) == [2, 2, 3, 3]
    assert len({*items[:, 1]}) == len({*items[:, 2]}) == 10


def test_another_category_can_be_asked_for_than_the_question_has_named():
  for seed in range(20):
    sample = TASK.draw_unnamed(np.random.default_rng(seed), 8, SETTINGS)
    items, (_, named, _, _, *asked) = parts(sample, 8)
    values = {key: (value, category) for category, key, value in items.tolist()}
    (category,) = {values[key][1] for key in asked}
    assert category != named and len(asked) == 2
    assert sample.targets[-2:].tolist() == [values[key][0] for key in asked]


def test_a_single_category_leaves_no_other():
  with pytest.raises(ValueError, match='4 items must have more than one'):
    TASK.draw_unnamed(np.random.default_rng(0), 4, SETTINGS | {'categories': 1})


def test_every_category_is_asked_for():
  assert {draw(8, seed).tokens[25] for seed in range(60)} == {4, 5, 6, 7}


def test_fewer_keys_can_be_asked():
  assert (draw(16, queries=1).targets >= 0).sum() == 1


def test_the_number_of_items_in_a_category_can_be_given():
  for size in (4, 8, 16):
    items, rest = parts(draw(size, items_per_category=4), size)
    _, counts = np.unique(items[:, 0], return_counts=True)
    assert counts.tolist() == [4] * (size // 4) and len(rest) == 3 + 5
  with pytest.raises(ValueError, match='categories must be at least 5 for 20'):
    draw(20, items_per_category=4)


def test_few_items_have_a_category_each():
  items, _ = parts(draw(2), 2)
  assert len({*items[:, 0]}) == 2 and TASK.chance(2, SETTINGS) == 1
