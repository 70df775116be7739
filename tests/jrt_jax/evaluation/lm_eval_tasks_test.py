"""The tasks that ship, as the harness runs them."""

import subprocess
import sys

import pytest

from jrt_jax.evaluation import lm_eval_tasks
from jrt_jax.evaluation.recall import tasks

pytestmark = pytest.mark.hf  # needs lm_eval

GENERATED = [
    'file',
    *(t for t in tasks.TASKS if tasks.TASKS[t].kind == 'generate'),
]
SCORED = [t for t in tasks.TASKS if tasks.TASKS[t].kind != 'generate']


@pytest.fixture(autouse=True)
def in_one_process(monkeypatch):
  monkeypatch.setenv('DISABLE_MULTIPROC', '1')  # the harness's word


@pytest.fixture(scope='module')
def harness():
  from jrt_jax.evaluation import harness

  return harness


@pytest.fixture(scope='module')
def evaluate(harness, recall_rows):
  """A function that evaluates a model on rows that are in a folder."""

  def evaluate(model, tasks, files=recall_rows):
    settings = {'data_files': str(files), 'tokenizer': 'bytes'}
    return harness.evaluate(model, tasks, metadata=settings)['results']

  return evaluate


@pytest.fixture(scope='module')
def models():
  """Models that know the answers, or nothing, by name."""
  from lm_eval.api import model as lm_eval_api

  class Oracle(lm_eval_api.LM):
    likely, answer = 0.0, '{}, of course'

    def generate_until(self, requests):
      answers = (x.doc['answers'][-1].upper() for x in requests)
      return [self.answer.format(answer) for answer in answers]

    def loglikelihood(self, requests):
      return [
          (self.likely if x.idx in x.doc['labels'] else -1.0, True)
          for x in requests
      ]

    def loglikelihood_rolling(self, requests):
      raise AssertionError

  class Empty(Oracle):
    likely, answer = -2.0, ''

  return {'oracle': Oracle(), 'empty': Empty()}


def test_every_task_ships(harness):
  names = {line.partition(':')[0] for line in harness.shipped()}
  wanted = {f'jrt_{task}' for task in GENERATED + SCORED}
  wanted |= {f'jrt_{task}_twice' for task in GENERATED}
  assert names == wanted | {'jrt_recall', 'jrt_recall_twice'}


@pytest.mark.parametrize(('name', 'score'), [('oracle', 1), ('empty', 0)])
def test_an_oracle_scores_everything_and_an_empty_model_nothing(
    evaluate, models, name, score
):
  generated = evaluate(
      models[name],
      ['jrt_recall', 'jrt_recall_twice', 'jrt_kv_twice', 'jrt_ruler'],
  )
  assert len(generated) == 16
  assert {x['contains,none'] for x in generated.values()} == {score}
  choices = [f'jrt_{task}' for task in SCORED if task != 'lambada']
  scored = evaluate(models[name], choices)
  assert len(scored) == 8
  assert {x['acc,none'] for x in scored.values()} == {score}


def test_texts_are_generated_as_in_the_released_evaluation(
    evaluate, models, recall_rows, monkeypatch
):
  model, asked = models['empty'], []
  answer = model.generate_until
  monkeypatch.setattr(
      model, 'generate_until', lambda x: asked.extend(x) or answer(x)
  )
  evaluate(model, ['jrt_file_twice'], recall_rows / 'file.jsonl')
  prompt, settings = asked[0].args
  assert prompt == 'Ann likes Ann likes tea.\nAnn likes tea. Ann likes'
  assert settings == {'until': ['\n'], 'max_gen_toks': 48, 'do_sample': False}


@pytest.fixture(scope='module')
def evaluated(bytes_workdir):
  from jrt_jax.evaluation import lm_eval_model

  return lm_eval_model.JrtJax(str(bytes_workdir), check_leaks=True)


def test_no_task_that_is_scored_leaks(evaluate, evaluated, capsys):
  names = [f'jrt_{task}' for task in SCORED]
  assert evaluate(evaluated, names).keys() == {*names}
  assert (
      'no leaks in the first 15 tokens of 19 scored' in capsys.readouterr().out
  )


def test_other_installations_of_the_harness_find_them_in_the_folder(
    recall_rows,
):
  """As README.md has it; nothing there imports the package beforehand."""
  code = (
      'import sys; from lm_eval.tasks import TaskManager; tasks = TaskManager('
      'include_path=sys.argv[1], include_defaults=False,'
      ' metadata={"data_files": sys.argv[2]}).load("jrt_file")["tasks"];'
      ' (task,) = tasks.values();'
      ' print(task.process_results(task.eval_docs[0], ["Tea, of course"]))'
  )
  (folder,) = lm_eval_tasks.__path__
  done = subprocess.run(
      [sys.executable, '-c', code, folder, f'{recall_rows}/file.jsonl'],
      capture_output=True,
      text=True,
  )
  assert done.stdout == "{'contains': 1.0}\n", done.stderr
