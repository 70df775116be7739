"""Examples of recall tasks as lm-evaluation-harness takes them.

The YAML files beside this one call `load` with their `metadata`, in which the
harness puts what --metadata gives and the arguments of the model. Importing this
module registers the metric `contains`.
"""

from collections.abc import Sequence
import difflib
import pathlib
from typing import Any

import datasets
import tqdm

from jrt_jax.evaluation import metrics as _  # noqa: F401, registers them
from jrt_jax.evaluation.recall import tasks
from jrt_jax.prompting import prompts
from jrt_jax.prompting import tokens
from jrt_jax.schema import AnyOf
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Text
from jrt_jax.schema import Whole
from jrt_jax.training import workdirs

_SETTINGS = {  # that users give; a name among them is looked up later
    'prompt': Text(),
    'data_files': AnyOf(Text(), ListOf(Text(), 0, 2**16)),
    'context_tokens': AnyOf(Whole(0, 2**30), OneOf(None)),
}


def load(
    *,
    recall: str | None = None,
    prompt: str = 'default',
    data_files: str | Sequence[str] = (),
    context_tokens: int | None = None,
    tokenizer: str | None = None,
    pretrained: str | None = None,
    workdir: str | None = None,
    model: str | None = None,
    **others: Any,
) -> dict[str, datasets.Dataset]:
  """Returns the examples of a task, as the split `test`.

  Each has `id`, `prompt` and `answers`, and `choices` with the indices of the
  right ones, `labels`, if it is one of choices.

  Args:
    recall: a key of `tasks.TASKS`; None: rows of one's own.
    prompt: a key of `prompts.PROMPTS`.
    data_files: as `tasks.examples` takes `paths`, or separated by commas.
    context_tokens: that are kept of a context; 0: all, None: as
      `Task.context_tokens` says.
    tokenizer, pretrained, workdir, model: whose tokens they are: the first that
      is given, for models of the harness go by one of these. 'bytes', a
      tokenizer.json, a workdir of `jrt_jax.train`, or what transformers knows.
    **others: are for the model, or for the harness. One that is nearly the
      name of an argument is taken for a misspelt one.

  Raises:
    ValueError: an argument is not one of these or misspelt, contexts are to be cut without
      a tokenizer, or see `tasks.examples`.
    OSError: see there.
  """
  _check_spelling(others)
  given = prompt, data_files, context_tokens
  for (key, setting), value in zip(_SETTINGS.items(), given, strict=True):
    setting.check(key, value)
  if isinstance(data_files, str):
    data_files = [path for path in data_files.split(',') if path]
  if not (recall or data_files):
    raise ValueError(
        'data_files must be given, in --metadata: JSON lines with context,'
        ' question and answers'
    )
  task = recall or data_files[0]
  if context_tokens is None:
    context_tokens = tasks.find_task(task).context_tokens or 0
  name = tokenizer or pretrained or workdir or model
  examples = tasks.examples(
      task,
      data_files,
      tokenizer=_tokenizer(name) if context_tokens else None,
      context_tokens=context_tokens or None,
  )
  bar = tqdm.tqdm(examples, task, delay=2, disable=None)
  rows = [_row(example, prompt) for example in bar]
  if not rows:
    raise ValueError(f'the data of {recall or data_files} must have rows')
  return {'test': datasets.Dataset.from_list(rows)}


def _check_spelling(others):
  """The harness passes on what its models take, so not all can be refused."""
  for name in others:
    near = difflib.get_close_matches(name, [*_SETTINGS, 'tokenizer'], 1, 0.8)
    if near:
      raise ValueError(f'--metadata must have {near[0]}, got {name!r}')


def _row(example, prompt):
  names = enumerate(example.names)
  labels = [i for i, name in names if name in example.answers]
  return {
      'id': example.id,
      'prompt': prompts.prompt(prompt, example.once, example.again),
      'answers': [*example.answers],
      'choices': [*example.choices],
      'labels': labels or [example.label],
  }


def _tokenizer(name):
  if not name:
    raise ValueError(
        'tokenizer must be given to cut contexts, as in --metadata'
        ' tokenizer=gpt2; context_tokens=0 leaves them whole'
    )
  name = workdirs.tokenizer(name) or name
  if name == 'bytes' or pathlib.Path(name).is_file():
    return tokens.load(name)
  try:
    import transformers  # as the models have it that are named so
  except ImportError as error:
    raise ValueError(
        "tokenizer must be 'bytes', a tokenizer.json, a workdir or, with the"
        f' package transformers, what it knows, got {name!r}'
    ) from error
  return transformers.AutoTokenizer.from_pretrained(name)
