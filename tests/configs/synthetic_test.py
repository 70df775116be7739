import pytest

from configs import base
from configs import synthetic
from jrt_jax.data import pipeline
from jrt_jax.data.synthetic import tasks


def test_every_task_has_a_config():
  assert {*synthetic.TASKS} == {*tasks.TASKS}


@pytest.mark.parametrize('task', synthetic.TASKS)
def test_a_config_is_within_its_ranges_and_its_samples_fit(task):
  config = synthetic.get_config(task).to_dict()
  base.check(config)
  tokenizer = pipeline.load_tokenizer(config['data'])
  for split in pipeline.splits(config['data'], tokenizer).values():
    split.check_length(config['sequence_length'])
    assert all(split.chance(size) <= 0.5 for size in split.sizes)


def test_an_unknown_task_is_refused_in_one_line():
  with pytest.raises(ValueError, match="must have a task of .*, got 'mqra'"):
    synthetic.get_config('mqra')
