import pytest

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce.exhibits import jrt_prompt


@pytest.fixture(scope='module')
def results():
  job, *_ = jrt_prompt.EXHIBIT.plan(exhibit.Request('cpu'), {})
  figures = jrt_prompt.EXHIBIT.measure(job.settings, None)
  return {job.name: exhibit.Done(job.settings, figures)}


def test_tasks_differ_more_than_models_do(results):
  by_task, _ = jrt_prompt.EXHIBIT.show(results)
  gains = {task: row[2].estimate for task, row in by_task.rows.items()}
  assert gains['SQuAD'] == pytest.approx(17.9, abs=0.05)
  assert gains['TriviaQA'] == pytest.approx(1.4, abs=0.05)
  assert gains['all six'] == pytest.approx(11.04, abs=0.005)


def test_without_models_it_says_that_it_has_only_computed(results):
  word, sentence = jrt_prompt.EXHIBIT.verdict(results)
  assert word == 'recomputed' and 'No model was measured' in sentence
  assert '6 of 96 cells lose' in sentence
