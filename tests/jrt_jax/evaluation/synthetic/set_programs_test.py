"""Programs that keep as few elements as there can be."""

import hypothesis
from hypothesis import strategies as st
import numpy as np

from jrt_jax.evaluation.synthetic import set_disjointness
from jrt_jax.evaluation.synthetic import set_programs

few = hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
size = st.integers(1, 40)


def draw(size_a, size_b, seed):
  rng = np.random.default_rng(seed)
  examples = set_disjointness.draw(rng, 1, (size_a, size_b))
  return examples.tokens()[0], examples.answer[0]


@few
@hypothesis.given(size, size, st.integers(0, 9))
def test_who_reads_once_keeps_the_first_set(size_a, size_b, seed):
  tokens, answer = draw(size_a, size_b, seed)
  assert set_programs.kept_once(tokens) == (answer, size_a)


@few
@hypothesis.given(size, size, st.integers(0, 9))
def test_who_reads_twice_keeps_the_smaller_set(size_a, size_b, seed):
  tokens, answer = draw(size_a, size_b, seed)
  assert set_programs.kept_twice(tokens) == (answer, min(size_a, size_b))


def test_without_a_shared_element_there_is_no_answer():
  tokens = np.array([1, 10, 11, 2, 12, 3])
  assert set_programs.kept_once(tokens) == (None, 2)
  assert set_programs.kept_twice(tokens) == (None, 1)
