import numpy as np
import pytest

from jrt_jax.prefix.short_prompts import SHORT_PROMPTS

TOKENS, SPACE = np.array([5, 6, 7], np.int32), 32


def read_as(name, capacity):
  tokens, padding = SHORT_PROMPTS[name](TOKENS, capacity=capacity, pad_id=SPACE)
  assert tokens.dtype == np.int32
  return tokens.tolist(), padding


@pytest.mark.parametrize('name', ['trim', 'left_pad', 'iterate'])
def test_a_prompt_can_be_read_as_it_is(name):
  assert SHORT_PROMPTS[name] is None


def test_padding_comes_before_the_prompt():
  assert read_as('left_pad_reference', 5) == ([SPACE, SPACE, 5, 6, 7], 2)


def test_copies_are_whole_from_the_right():
  assert read_as('read_twice', 6) == ([5, 6, 7, 5, 6, 7], 0)
  assert read_as('read_twice', 8) == ([6, 7, 5, 6, 7, 5, 6, 7], 0)
  assert read_as('read_twice', 4) == ([7, 5, 6, 7], 0)
