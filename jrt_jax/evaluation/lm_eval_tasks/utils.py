"""Rows of recall tasks as lm-evaluation-harness takes them: prompts and answers.

The YAML files beside this one call `load` with their `metadata`, with which the
harness merges its --metadata and the arguments of the model. Importing this
module registers the metric `contains`.
"""

from collections.abc import Iterable, Iterator, Mapping
import pathlib
from typing import Any

import datasets
import tqdm

from jrt_jax import foreign
from jrt_jax.data import sources
from jrt_jax.evaluation import metrics as _metrics  # registers them
from jrt_jax.prompting import cutting
from jrt_jax.prompting import prompts
from jrt_jax.prompting import templates
from jrt_jax.prompting import tokens
from jrt_jax.schema import AnyOf
from jrt_jax.schema import Anything
from jrt_jax.schema import Fields
from jrt_jax.schema import ListOf
from jrt_jax.schema import Text
from jrt_jax.schema import Whole
from jrt_jax.training import checkpoint
from jrt_jax.training import recorded_config

_TEXT = Text(longest=2**24)
_TEXTS = ListOf(_TEXT, 1, 2**12)
_ATTRIBUTE = {'text': _TEXT, 'key': _TEXT, 'value': _TEXT}
_CLOZE = {
    'context': _TEXT,
    'question': _TEXT,
    'orig_question': _TEXT,
    'answers': _TEXTS,
}

# What a row must have: `file` is a row of one's own, all others are rows of the
# original data sets.
FIELDS = {
    'fda': _ATTRIBUTE,
    'swde': _ATTRIBUTE,
    'squad': {
        'text': _TEXT,
        'context': _TEXT,
        'question': _TEXT,
        'value': _TEXT,
    },
    'nq': _CLOZE,
    'triviaqa': _CLOZE,
    'drop': _CLOZE,
    'file': {
        'context': _TEXT,
        'question': _TEXT,
        'answers': AnyOf(_TEXT, _TEXTS),
    },
}


def load(
    recall: str,
    *,
    prompt: str = 'default',
    dataset: str | None = None,
    data_files: str | Mapping[str, str] | None = None,
    context_tokens: int = 950,
    tokenizer: str | None = None,
    pretrained: str | None = None,
    workdir: str | None = None,
    model: str | None = None,
    **others: Any,
) -> dict[str, datasets.Dataset]:
  """Returns the rows of a task: `prompt`, `answers`, and `place`, where it is.

  Args:
    recall: a key of `FIELDS`.
    prompt: a key of `prompts.PROMPTS`.
    dataset: the name on the Hugging Face Hub, whose validation split is read.
    data_files: JSON lines that are read instead, plain, .gz or .zst: names or
      globs, separated by commas, or a dict of them by `recall`.
    context_tokens: to how many tokens around its answer a context is cut, of
      the released evaluation by default; rows with answers of one character are
      left out then, as there. 0 leaves contexts and rows as they are.
    tokenizer, pretrained, workdir, model: whose tokens they are: the first that
      is given, for models name themselves by one of these. 'bytes', a
      tokenizer.json, a workdir of `jrt_jax.train`, or what transformers knows.
    **others: are for the model, or for the harness.

  Raises:
    ValueError: an argument is not one of these, a row lacks a field, or there
      is no tokenizer to cut contexts with.
    OSError: there is no such file, or the Hub cannot be reached.
  """
  del others
  if recall not in FIELDS:
    raise ValueError(
        f'recall must be one of {", ".join(FIELDS)}, got {recall!r}'
    )
  prompts.find(prompt)
  Whole(0, 2**30).check('context_tokens', context_tokens)
  if isinstance(data_files, Mapping):
    data_files = data_files.get(recall)
  cut_by = None
  if context_tokens:
    cut_by = _tokenizer(tokenizer or pretrained or workdir or model)
  rows = (
      _of_files(recall, data_files) if data_files else _of_hub(recall, dataset)
  )
  found = []
  for place, row in tqdm.tqdm(rows, desc=recall, delay=2, disable=None):
    if cut_by:
      row = _cut(recall, row, cut_by, context_tokens)
    if row:
      parts = (_parts(recall, row, once=once) for once in (True, False))
      text = prompts.prompt(prompt, *parts)
      found.append({'prompt': text, 'answers': _answers(row), 'place': place})
  if not found:
    raise ValueError(f'{data_files or dataset} must have rows of {recall}')
  return {'test': datasets.Dataset.from_list(found)}


def _tokenizer(name):
  if not name:
    raise ValueError(
        'tokenizer must be given to cut contexts, as in --metadata'
        ' tokenizer=gpt2; or context_tokens=0 leaves them whole'
    )
  if checkpoint.exists(name):
    config = recorded_config.read(pathlib.Path(name, 'config.json'))
    name = config['data']['tokenizer']
  if name == 'bytes' or pathlib.Path(name).is_file():
    return tokens.load(name)
  try:
    import transformers  # as the models have it that are named so
  except ImportError as error:
    raise ValueError(
        "tokenizer must be 'bytes', a tokenizer.json or, with the package"
        f' transformers, what it knows, got {name!r}'
    ) from error
  return transformers.AutoTokenizer.from_pretrained(name)


def _of_files(recall, patterns) -> Iterator[tuple[str, dict[str, Any]]]:
  schema = Fields(FIELDS[recall], others=Anything())
  for path in sources.find('data_files', patterns):
    with sources.open_text(path) as (file, _):
      for number, line in enumerate(file, 1):
        if line.strip():
          place = f'{path}:{number}'
          yield place, foreign.parse_json(line, place, schema)


def _of_hub(recall, name) -> Iterator[tuple[str, dict[str, Any]]]:
  if not name:
    raise ValueError(f'data_files must be given: {recall} is of no data set')
  try:
    rows = datasets.load_dataset(name, split='validation')
  except (OSError, datasets.exceptions.DatasetsError) as error:
    raise OSError(
        f'{error}; rows of https://huggingface.co/datasets/{name} in files of'
        " JSON lines can be given as data_files, in --metadata='"
        f'{{"data_files": {{"{recall}": "FILE"}}}}\''
    ) from error
  schema = Fields(FIELDS[recall], others=Anything())
  for number, row in enumerate(rows):
    schema.check(f'{name}:{number}:', row)
    yield f'{name}:{number}', row


def _cut(recall, row, tokenizer, budget):
  """The row with a shorter context; None if released evaluations lack it."""
  if recall != 'file':
    return cutting.cut_record(recall, row, tokenizer, budget)
  context = cutting.cut_context(
      row['context'], tokenizer, budget, _answers(row), rule='centred'
  )
  return {**row, 'context': context}


def _parts(recall, row, *, once):
  if recall != 'file':
    return templates.task_parts(recall, row, once=once)
  context, question = row['context'], row['question']
  return templates.Parts(question, context, question, f'{context} {question}')


def _answers(row):
  answers = row['answers'] if 'answers' in row else row['value']
  return [answers] if isinstance(answers, str) else [*answers]
