import json
import os
import pathlib
import subprocess
import sys

import pytest

from configs import base
from configs import synthetic
from jrt_jax.data import splits
from jrt_jax.data import vocabulary
from jrt_jax.data.synthetic import tasks

ROOT = pathlib.Path(__file__).parents[2]


def test_every_task_has_a_config():
  assert {*synthetic.TASKS} == {*tasks.TASKS}


@pytest.mark.parametrize('task', synthetic.TASKS)
def test_a_config_is_within_its_ranges_and_its_samples_fit(task):
  config = synthetic.get_config(task).to_dict()
  base.check(config)
  tokenizer = vocabulary.load_tokenizer(config['data'])
  for split in splits.splits(config['data'], tokenizer).values():
    split.check_length(config['sequence_length'])
    assert all(split.chance(size) <= 0.5 for size in split.sizes)


def test_an_unknown_task_is_refused_in_one_line():
  with pytest.raises(ValueError, match="must name a task of .*, got 'mqra'"):
    synthetic.get_config('mqra')


def accuracy(workdir, task, *flags):
  """Trains as a user does; the share of held-out answers at the end."""
  config = f'--config=configs/synthetic.py:{task}'
  subprocess.run(
      [sys.executable, '-m', 'jrt_jax.train', config, f'--workdir={workdir}']
      + [*flags],
      cwd=ROOT,
      env=os.environ | {'XLA_FLAGS': '--xla_cpu_multi_thread_eigen=false'},
      check=True,
      capture_output=True,
  )
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  found = [json.loads(x).get('held_out/answer_accuracy') for x in lines]
  return [x for x in found if x is not None][-1]


@pytest.mark.slow
@pytest.mark.parametrize('task', ['mqar', 'forward_reference'])
def test_the_model_of_a_config_learns_to_recall(task, tmp_path):
  assert accuracy(tmp_path, task) > 0.9


@pytest.mark.slow
def test_a_causal_model_can_but_guess_what_will_be_said(tmp_path):
  flags = '--config.prefix.name=none', '--config.steps=200'
  found = accuracy(tmp_path, 'forward_reference', *flags)
  assert found < 0.25  # guessing: 0.17
