"""Examples of recall tasks in the form of lm-evaluation-harness.

The YAML files beside this one call `load` with their `metadata`, to which the
harness adds --metadata and the arguments of the model. Importing this module
registers the metric `contains`.
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

_SETTINGS = {  # arguments that users may give
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

  Each example has `id`, `prompt` and `answers`. A multiple-choice example also
  has `choices` and `labels`, the indices of the correct choices.

  Args:
    recall: a key of `tasks.TASKS`; None: the user's own rows.
    prompt: a key of `prompts.PROMPTS`.
    data_files: the `paths` of `tasks.examples`, or a text with commas.
    context_tokens: how many tokens of a context are kept; 0: all, None: the
      default of the task (`Task.context_tokens`).
    tokenizer, pretrained, workdir, model: the tokenizer that counts tokens: the
      first of these that is given, because models of the harness use different
      names. It is 'bytes', a tokenizer.json, a workdir of `jrt_jax.train`, or a
      name that transformers knows.
    **others: arguments for the model or the harness. A name that is very
      similar to one above is treated as a misspelling.

  Raises:
    ValueError: an argument is wrong or misspelt, contexts must be cut but there
      is no tokenizer, or see `tasks.examples`.
    OSError: see `tasks.examples`.
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
  """Raises ValueError for misspelt names; other arguments are for the model."""
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
        'tokenizer must be given to cut contexts, such as --metadata'
        ' tokenizer=gpt2; context_tokens=0 does not cut them'
    )
  name = workdirs.tokenizer(name) or name
  if name == 'bytes' or pathlib.Path(name).is_file():
    return tokens.load(name)
  try:
    import transformers  # which the models with such names need anyway
  except ImportError as error:
    raise ValueError(
        "tokenizer must be 'bytes', a tokenizer.json, a workdir or, with the"
        f' package transformers, a name that it knows, got {name!r}'
    ) from error
  return transformers.AutoTokenizer.from_pretrained(name)
