r"""Measures whether a model recalls its context, and if reading twice helps.

python -m jrt_jax.recall --workdir=runs/jrt_tiny --tasks=fda --data=FOLDER
python -m jrt_jax.recall --model=hf:NAME --tasks=mine.jsonl \
    --prompts=default,twice,hierarchical --out=recall/mine

The model is a run of this package or any other: hf:NAME_OR_DIR,
http://HOST:PORT/v1 of a server with OpenAI's interface, or
python:package.module:attribute. A task is one of --list, whose rows are in
--data, or a file of your own with a `context`, a `question` and `answers` in
each line. All kinds of prompts ask the same questions, and are compared with
`default` question by question.

Contexts of the paper's six tasks are cut to 950 tokens, as in its evaluations
(see --context_tokens). Those of FDA, SWDE, SQuAD and NQ are cut around the gold
answer, so that the scores are those of a reader who is shown where to look.
Those of TriviaQA and DROP are cut to their start, which may not have the
answer. Other contexts are read whole.

With --out, finished answers are kept, and the same command continues there. It
refuses to continue with other weights, except those of a server, which cannot
be compared. Exit codes: 0 at the end, 1 if memory ran out, 2 for a mistake in
the command or a model that fails, 130 after Ctrl-C.
"""

import contextlib
import glob
import logging
import os
import pathlib
import sys

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax.evaluation import language_models
from jrt_jax.evaluation.recall import questions as questions_lib
from jrt_jax.evaluation.recall import record
from jrt_jax.evaluation.recall import report
from jrt_jax.evaluation.recall import rows
from jrt_jax.evaluation.recall import runner
from jrt_jax.evaluation.recall import tasks
from jrt_jax.generation import long_prompts
from jrt_jax.prefix import short_prompts
from jrt_jax.prompting import prompts
from jrt_jax.reporting import provenance
from jrt_jax.reporting.progress import progress_bar
from jrt_jax.training import recorded_config

_WORKDIR = command_line.define_workdir()
_MODEL = flags.DEFINE_string(
    'model',
    None,
    'A model without a workdir: hf:NAME_OR_DIR, http://HOST:PORT/v1 or'
    ' python:package.module:attribute, which is imported and so runs code.',
)
_MODEL_ARGS = flags.DEFINE_list(
    'model_args',
    [],
    'Options of the model, NAME=VALUE,…: dtype, device and trust_remote_code'
    ' for hf:, timeout (seconds) for a server.',
)
_TOKENIZER = flags.DEFINE_string(
    'tokenizer',
    None,
    'Path of the tokenizer.json of a run, if it has moved since training, or of'
    ' a server; without it, words are counted for a server.',
)
_SHORT_PROMPT = flags.DEFINE_enum(
    'short_prompt',
    None,
    sorted(short_prompts.SHORT_PROMPTS),
    'For runs: how a prompt shorter than the prefix is read.',
)
_LONG_PROMPT = flags.DEFINE_enum(
    'long_prompt',
    None,
    sorted(long_prompts.LONG_PROMPTS),
    'For runs: which part of a prompt longer than the prefix becomes prefix.',
)
_TASKS = flags.DEFINE_list(
    'tasks',
    [],
    'Names of tasks (see --list), or files of your own, NAME.jsonl.',
)
_DATA = flags.DEFINE_string(
    'data',
    None,
    'Rows of the tasks: a file, a glob, hf:NAME:SPLIT:CONFIG, or a folder of'
    ' files whose names begin with the name of the task. Default: the source'
    ' that --list shows.',
)
_PROMPTS = flags.DEFINE_list(
    'prompts',
    ['default', 'twice'],
    f'Kinds of prompts, of {", ".join(prompts.PROMPTS)}.',
)
_CONTEXT_TOKENS = flags.DEFINE_integer(
    'context_tokens',
    None,
    'How many tokens of a context are read; 0: all. Default: 950 for the tasks'
    ' of the paper, all for the others. They are those around the gold answer,'
    ' except for TriviaQA, DROP and choices without a text (the start) and'
    ' LAMBADA (the end).',
    lower_bound=0,
)
_MAX_TOKENS = flags.DEFINE_integer(
    'max_tokens',
    None,
    'The most tokens of an answer; default: the number of the task.',
    lower_bound=1,
)
_LIKELIHOOD = flags.DEFINE_bool(
    'likelihood',
    False,
    'Do not generate answers, but score the log-likelihood of the first gold'
    ' answer: this compares models that are too small to answer.',
)
_LIMIT = command_line.define_limit()
_BATCH_SIZE = command_line.define_batch_size('examples are asked')
_ALLOW_TRUNCATION = flags.DEFINE_bool(
    'allow_truncation',
    False,
    'Cut the start of prompts that are too long for the model.',
)
_OUT = flags.DEFINE_string('out', None, 'The folder for examples and results.')
_LIST = flags.DEFINE_bool('list', False, 'Show all tasks and kinds of prompts.')
command_line.define_compilation_cache()
_HOW = ('device=', 'timeout=')  # the --model_args that change no answer


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors(out_of_memory='lower --batch_size'):
    if _LIST.value:
      print('\n'.join(questions_lib.listed()))
      return
    _check_flags()
    command_line.use_compilation_cache()
    # It would log each of its attempts to reach the network.
    logging.getLogger('huggingface_hub').setLevel(logging.ERROR)
    _evaluate()


def _evaluate():
  model = language_models.load(_spec(), **_options())
  works = [_work(model, name) for name in dict.fromkeys(_TASKS.value)]
  settings = questions_lib.Settings(
      prompts=[*dict.fromkeys(_PROMPTS.value)],
      max_tokens=_MAX_TOKENS.value,
      batch_size=_BATCH_SIZE.value,
      allow_truncation=_ALLOW_TRUNCATION.value,
  )
  questions = questions_lib.ask(model, works, settings)
  with contextlib.ExitStack() as stack:
    folder = None
    if _OUT.value:
      asked = _asked(model, works, settings, questions)
      path = pathlib.Path(_OUT.value).expanduser()
      folder = stack.enter_context(record.opened(path, asked))
      if folder.rows:
        told = f'{len(folder.rows):,} of {len(questions):,} answers'
        print(f'{told} were already in {_OUT.value}', file=sys.stderr)
    found = runner.run(
        model,
        questions,
        settings,
        finished=folder.rows if folder else (),
        keep=folder.append if folder else lambda rows: None,
    )
    results = report.results(works, found)
    print(report.tables(results, model.unit))
    if folder:
      print(f'wrote {folder.finish(_result(model, asked, results))}')


def _result(model, asked, results):
  """The results, with the model, data and versions that they come from."""
  return {
      'command': provenance.command('jrt_jax.recall'),
      'settings': asked,
      'batch_size': _BATCH_SIZE.value,
      'run': recorded_config.identity(model.model.config)
      if _is_run()
      else None,
      **record.environment(model),
      'results': results,
  }


def _check_flags():
  """Raises an error for wrong flags, before a model is loaded."""
  if bool(_WORKDIR.value) == bool(_MODEL.value):
    raise ValueError('either --workdir=DIR or --model=SPEC must be given')
  if not _TASKS.value:
    raise ValueError('--tasks=NAME,… must be given; --list shows them')
  for name in _TASKS.value:
    rows.find(name, _paths(name), tasks.find_task(name).source)
  for name in _PROMPTS.value or ['']:
    prompts.find(name)
  if _OUT.value:
    command_line.output_folder(_OUT)


def _paths(name):
  """Returns the files of a task; a task that is a file has no others."""
  if name not in tasks.TASKS:
    return [name]
  data = _DATA.value
  if not data:
    return []
  return sorted(glob.glob(os.path.expanduser(data), recursive=True)) or [data]


def _is_run():
  """Whether the model is a run, given by --workdir or by --model."""
  return _spec().startswith('workdir:')


def _spec():
  return _MODEL.value or f'workdir:{_WORKDIR.value}'


def _options():
  """The options that were given; a function takes none."""
  given = {
      'tokenizer': _TOKENIZER.value,
      'short_prompt': _SHORT_PROMPT.value,
      'long_prompt': _LONG_PROMPT.value,
  }
  if not _spec().startswith('python:'):
    given['batch_size'] = _BATCH_SIZE.value
  more = language_models.parse_options(_spec(), _MODEL_ARGS.value)
  if both := given.keys() & more.keys():
    raise ValueError(
        f'--model_args must not have {", ".join(sorted(both))}, which are flags'
    )
  return given | more


def _work(model, name):
  examples = tasks.examples(
      name,
      _paths(name),
      tokenizer=model,
      context_tokens=_context_tokens(name),
      limit=_LIMIT.value,
  )
  bar = progress_bar(examples, f'{name}: reading')
  task, found = tasks.find_task(name), [*bar]
  if _LIKELIHOOD.value:
    task, found = tasks.by_likelihood(task, found)
  return questions_lib.Work(name, task, found)


def _context_tokens(name):
  if _CONTEXT_TOKENS.value is None:
    return tasks.find_task(name).context_tokens
  return _CONTEXT_TOKENS.value or None


def _asked(model, works, settings, questions):
  """The settings on which results depend; results in a folder share them."""
  weights = {'fingerprint': getattr(model, 'fingerprint', None)}
  if _is_run():
    weights = {
        'step': model.model.step,
        'fingerprint': model.model.fingerprint,
        'prefix': model.model.config['prefix']['name'],
        'prefix_capacity': model.model.prefix_capacity,
    }
  return {
      'model': model.name,
      **weights,
      'model_args': [x for x in _MODEL_ARGS.value if not x.startswith(_HOW)]
      or None,
      'short_prompt': _SHORT_PROMPT.value,
      'long_prompt': _LONG_PROMPT.value,
      'tasks': [work.name for work in works],
      'prompts': settings.prompts,
      'context_tokens': [_context_tokens(work.name) for work in works],
      'unit': model.unit,  # what is counted: words if there is no tokenizer
      'max_tokens': [
          questions_lib.max_tokens(work, settings) for work in works
      ],
      'likelihood': _LIKELIHOOD.value or None,
      'limit': _LIMIT.value,
      'allow_truncation': settings.allow_truncation,
      'questions': questions_lib.digest(questions),
  }


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
