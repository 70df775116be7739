"""Models of this package give what generation and scoring compute."""

import math

import jax
import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax.evaluation import language_models
from jrt_jax.evaluation import scoring

PROMPTS = ['abc', 'a prompt that is longer than its prefix']
PAIRS = [
    ('a context', ' and this'),
    ('one that is longer than its prefix', ' or that'),
    ('a context', ' or that'),
    ('', 'a text'),
    ('spaces ', 'here'),
]


@pytest.fixture(scope='module')
def jrt(bytes_workdir):
  return language_models.load(f'workdir:{bytes_workdir}', batch_size=2)


def as_arrays(scores):
  return np.array(scores, np.float64).T


def test_texts_are_those_of_generation(jrt):
  found = jrt.generate(PROMPTS, max_tokens=12, stop=['e'])
  settings = generation.GenerationSettings(max_tokens=12, stop=('e',))
  expected = generation.generate(jrt.model, PROMPTS, settings)
  assert [x.text for x in found] == [x.text for x in expected]
  assert [x.prompt_tokens for x in found] == [*map(len, PROMPTS)]
  assert all(0 < x.prefill_seconds < math.inf for x in found)


def test_scores_are_those_of_contexts_as_prompts(jrt):
  pairs = [('a context', ' and this'), ('spaces', ' here')]
  expected = scoring.score(
      jrt.model, [tuple(map(jrt.model.encode, pair)) for pair in pairs]
  )
  found = jrt.log_likelihood([PAIRS[0], PAIRS[4]])
  np.testing.assert_allclose(
      as_arrays(found)[:2], as_arrays(expected), rtol=1e-5
  )
  assert [x.num_tokens for x in found] == [9, 5]


def test_results_do_not_depend_on_the_order(jrt):
  found = jrt.log_likelihood(PAIRS[::-1])[::-1]
  np.testing.assert_allclose(
      as_arrays(found), as_arrays(jrt.log_likelihood(PAIRS)), rtol=1e-5
  )
  prompts = [*PROMPTS, 'the third of three']
  forth = [x.text for x in jrt.generate(prompts, max_tokens=8)]
  back = [x.text for x in jrt.generate(prompts[::-1], max_tokens=8)]
  assert forth == back[::-1]
  assert len({*forth}) == 3


@pytest.mark.slow
@pytest.mark.parametrize('batch_size', [1, 4])
def test_results_do_not_depend_on_the_batch(jrt, bytes_workdir, batch_size):
  other = language_models.load(
      f'workdir:{bytes_workdir}', batch_size=batch_size
  )
  prompts = [*PROMPTS, 'the third of three']
  assert [x.text for x in other.generate(prompts, max_tokens=20)] == [
      x.text for x in jrt.generate(prompts, max_tokens=20)
  ]
  np.testing.assert_allclose(
      as_arrays(other.log_likelihood(PAIRS)),
      as_arrays(jrt.log_likelihood(PAIRS)),
      rtol=1e-5,
  )


def test_compiling_is_no_part_of_reading(jrt, monkeypatch):
  made, honest = [], generation.Continuation

  def read(*arguments):
    if not made:
      jax.jit(lambda x: x * 3)(1.0)  # compiles
    made.append(honest(*arguments))
    return made[-1]

  monkeypatch.setattr(generation, 'Continuation', read)
  for _ in range(2):
    found = jrt.generate(PROMPTS, max_tokens=0)
    seconds = [x.prefill_seconds for x in found]
    assert sum(seconds) == pytest.approx(made[-1].read_seconds)
    assert seconds[1] > seconds[0]  # for it has more tokens
  assert len(made) == 3  # what compiled was read again


def test_no_prompts_have_no_texts(jrt):
  assert not jrt.generate([], max_tokens=3)
  assert not jrt.log_likelihood([])


def test_a_wrong_option_is_refused(bytes_workdir):
  with pytest.raises(ValueError, match='batch_size must be positive, got 0'):
    language_models.load(f'workdir:{bytes_workdir}', batch_size=0)
  model = language_models.load(f'workdir:{bytes_workdir}', short_prompt='none')
  with pytest.raises(ValueError, match='short_prompt must be one of'):
    model.generate(PROMPTS, max_tokens=1)
