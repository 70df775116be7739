"""Tasks of lm-evaluation-harness, run and reported.

The file of a task is a program: `!function` in it runs code of a Python file
beside it. Load none that you would not run.
"""

from collections.abc import Mapping, Sequence
import json
import logging
import os
import pathlib
from typing import Any

from datasets import exceptions
from lm_eval import evaluator
from lm_eval import tasks as tasks_lib
from lm_eval import utils
from lm_eval.api import model as lm_eval_api

from jrt_jax.evaluation import metrics  # noqa: F401, registers them
from jrt_jax.evaluation.recall import tasks as recall_tasks
from jrt_jax.prompting import prompts

# Resamples for standard errors that have no formula. The harness takes 100,000
# on many processes; here it has one, and these suffice for two digits.
_RESAMPLES = 1000

SHIPPED = pathlib.Path(__file__).with_name('lm_eval_tasks')


def prepare_process() -> None:
  """For commands: nothing forks beside JAX's threads, nor tells each retry.

  The harness's own command line refuses unknown metrics then, too.
  """
  os.environ['DISABLE_MULTIPROC'] = '1'  # the harness's word
  logging.getLogger('huggingface_hub').setLevel(logging.ERROR)
  # Each task whose data takes --metadata would say so, and how another's looks.
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
  """Returns what the harness finds.

  Args:
    model: that is evaluated.
    tasks: names, which may hold * and ?, or YAML files of tasks.
    include_path: a folder of further tasks, which then have names.
    num_fewshot: examples before each question; None: as the task says.
    limit: so many examples of each task; None: all.
    metadata: what tasks take, as those of `lm_eval_tasks` do.

  Raises:
    ValueError: a task or a metric is unknown, or its data is damaged.
    OSError: its data is not there, or cannot be downloaded.
  """
  names = [task for task in tasks if not _is_file(task)]
  place = {'include_path': include_path, 'metadata': {**(metadata or {})}}
  manager = _Tasks(**place, include_defaults=False)
  if not {*names} <= {*manager.all_tasks}:
    manager = _Tasks(**place)  # with those of the harness, which takes seconds
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
  """Returns a line for each task of `lm_eval_tasks`: its name, what it reads."""
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
  """Those of `lm_eval_tasks` as well, and such as can be scored.

  The harness would find that out after it has run.
  """

  def __init__(self, *args, include_path=None, **settings):
    given = include_path if isinstance(include_path, list) else [include_path]
    paths = [SHIPPED, *filter(None, given)]  # the later ones override
    super().__init__(*args, include_path=paths, **settings)

  def load(self, task_list):
    try:
      loaded = super().load(task_list)
    except KeyError as error:  # None: of a metric that it has just warned of
      raise ValueError(
          'the files of tasks must have the keys and metrics that lm_eval'
          f' knows, got none for {error}'
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
