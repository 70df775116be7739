import numpy as np
import pytest

from jrt_jax.data.synthetic import task


def test_a_sample_is_its_prompt_in_order_and_the_reply():
  reply, targets = np.array([3, 7]), np.array([-1, 8])
  sample = task.sample('DQDQ', np.array([7, 8]), (1, 7, 2), reply, targets)
  assert sample.tokens.tolist() == [7, 8, 1, 7, 2] * 2 + [3, 7]
  assert sample.targets.tolist() == [-1] * 11 + [8]
  assert sample.prompt_len == 10


def test_keys_are_asked_one_after_the_other():
  reply, targets = task.asked(np.array([5, 6]), np.array([8, 9]))
  assert reply.tolist() == [3, 5, 6] and targets.tolist() == [-1, 8, 9]


def test_ids_are_divided_into_equal_halves():
  keys, values = task.halves({'num_ids': 11})
  assert keys.tolist() == [4, 5, 6] and values.tolist() == [7, 8, 9]


def test_more_than_there_are_cannot_be_chosen():
  with pytest.raises(ValueError, match='must leave 3 keys .*, got 2'):
    task.choose(np.random.default_rng(0), np.arange(2), 3, 'keys')
