"""Runs tasks of lm-evaluation-harness and reports the results.

A task file is a program: `!function` in it runs code of a Python file beside
it. Do not load a task whose code you would not run.
"""

from collections.abc import Mapping, Sequence
import json
import logging
import os
import pathlib
from typing import Any

from datasets import exceptions

# Where lm-eval is not installed, pyright takes jrt_jax/lm_eval.py for it.
from lm_eval import evaluator  # pyright: ignore
from lm_eval import tasks as tasks_lib  # pyright: ignore
from lm_eval import utils  # pyright: ignore
from lm_eval.api import model as lm_eval_api

from jrt_jax.evaluation import metrics  # noqa: F401, registers them
from jrt_jax.evaluation.recall import tasks as recall_tasks
from jrt_jax.prompting import prompts

# Resamples for standard errors that have no formula. The harness draws 100,000
# in many processes. Here it has one, and this many suffice for two digits.
_RESAMPLES = 1000

SHIPPED = pathlib.Path(__file__).with_name('lm_eval_tasks')


def prepare_process() -> None:
  """Prepares a command: nothing forks (JAX has threads) or logs each retry.

  The harness's own command line then refuses unknown metrics, too.
  """
  os.environ['DISABLE_MULTIPROC'] = '1'  # read by the harness
  logging.getLogger('huggingface_hub').setLevel(logging.ERROR)
  # Each task that takes --metadata would log a long hint about it.
  logging.getLogger('lm_eval.api.task').addFilter(
      lambda record: 'Custom kwargs can be passed' not in str(record.msg)
  )
  tasks_lib.TaskManager = _Tasks


def evaluate(
    model: lm_eval_api.LM,
    tasks: Sequence[str],
    *,
    include_path: str | None = None,
    num_fewshot: int | None = None,
    limit: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Returns the results of the harness.

  Args:
    model: the model to evaluate.
    tasks: names, in which * and ? are wildcards, or YAML files of tasks.
    include_path: a folder of further tasks, which can then be named.
    num_fewshot: examples before each question; None: the default of the task.
    limit: the most examples of each task; None: all.
    metadata: arguments for tasks, such as those of `lm_eval_tasks`.

  Raises:
    ValueError: a task or a metric is unknown, or its data is damaged.
    OSError: its data is missing, or cannot be downloaded.
  """
  names = [task for task in tasks if not _is_file(task)]
  place = {'include_path': include_path, 'metadata': {**(metadata or {})}}
  manager = _Tasks(**place, include_defaults=False)
  if not {*names} <= {*manager.all_tasks}:
    manager = _Tasks(**place)  # takes seconds: reads the harness's tasks
  if missing := [x for x in names if not manager.match_tasks([x])]:
    raise ValueError(
        'tasks must be names that lm_eval knows, or files NAME.yaml, got'
        f' {missing[0]!r}'
    )
  try:
    return evaluator.simple_evaluate(
        model=model,
        tasks=[t for t in tasks if _is_file(t)] + manager.match_tasks(names),
        task_manager=manager,
        num_fewshot=num_fewshot,
        limit=limit,
        bootstrap_iters=_RESAMPLES,
    )
  except exceptions.DatasetsError as error:
    if isinstance(error, OSError):
      raise
    raise ValueError(f'the data of {",".join(tasks)}: {error}') from error


def shipped() -> list[str]:
  """Returns a line for each task of `lm_eval_tasks`: its name and content."""
  index = _Tasks(include_defaults=False).task_index
  return [_line(name, entry.cfg) for name, entry in sorted(index.items())]


def table(results: dict[str, Any]) -> str:
  """Returns the metrics of each task and of each group of tasks."""
  kinds = [kind for kind in ('results', 'groups') if results.get(kind)]
  return '\n'.join(utils.make_table(results, kind).rstrip() for kind in kinds)


def save(results: dict[str, Any], path: str) -> None:
  """Writes metrics, settings and every example, as JSON."""
  text = json.dumps(results, indent=2, default=utils.handle_non_serializable)
  pathlib.Path(path).write_text(text + '\n')


class _Tasks(tasks_lib.TaskManager):
  """Also knows the tasks of `lm_eval_tasks`, and refuses unknown metrics.

  The harness itself would notice an unknown metric only after it has run.
  """

  def __init__(self, *args, include_path=None, **settings):
    given = include_path if isinstance(include_path, list) else [include_path]
    paths = [SHIPPED, *filter(None, given)]  # the later ones override
    super().__init__(*args, include_path=paths, **settings)

  def load(self, task_list):
    try:
      loaded = super().load(task_list)
    except KeyError as error:  # 'None' for a metric, after a warning
      raise ValueError(
          'task files must have keys and metrics that lm_eval knows, got'
          f' none for {error}'
      ) from error
    for name, task in loaded['tasks'].items():
      scored_by = getattr(task, '_metric_fn_list', {})
      unknown = [metric for metric, f in scored_by.items() if f is None]
      if unknown and task.config.process_results is None:
        raise ValueError(
            f'metric_list of the task {name} must name metrics that lm_eval'
            f' knows, got {unknown[0]!r}'
        )
    return loaded


def _line(name, config):
  if 'group' in config:
    return f'{name}: the mean of {", ".join(config["task"])}'
  about = config['metadata']
  kind = prompts.find(about.get('prompt', 'default'))
  recall = about.get('recall')
  source = recall_tasks.TASKS[recall].source if recall else 'your data_files'
  return f'{name}: {kind.about}; of {source}'


def _is_file(task):
  return task.endswith('.yaml') and pathlib.Path(task).is_file()
