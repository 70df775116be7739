"""TASKS: their rows, their questions, and their metrics."""

from collections.abc import Iterator, Sequence
import hashlib
import itertools
import json
from typing import Any, NamedTuple

from jrt_jax.evaluation.recall import last_word
from jrt_jax.evaluation.recall import needles
from jrt_jax.evaluation.recall import question_answering
from jrt_jax.evaluation.recall import rows
from jrt_jax.evaluation.recall import super_glue
from jrt_jax.evaluation.recall import super_glue_choices
from jrt_jax.evaluation.recall.example import Cut
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import tokens


class Task(NamedTuple):
  """A task: its questions, and how answers are scored.

  Attributes:
    kind: 'generate': the generated text should contain one of the answers;
      'choices': the right choice should be the likeliest; 'last_word': the
      model should itself generate the only choice.
    releases: the schemas of its rows, and how they become examples.
    source: where its rows are: `hf:NAME:SPLIT:CONFIG`, or a URL.
    metrics: the names of its metrics.
    max_tokens: the most tokens of a generated text.
    stop: texts before which a generated text ends.
    context_tokens: how many tokens of a context released evaluations keep;
      None: all.
  """

  kind: str
  releases: Sequence[rows.Release]
  source: str
  metrics: tuple[str, ...]
  max_tokens: int = 0
  stop: tuple[str, ...] = ()
  context_tokens: int | None = None

  def read(self, place: str, row: rows.Row, cut: Cut) -> Iterator[Example]:
    """Yields the examples of a row; see `rows.examples`."""
    return rows.examples(self.releases, place, row, cut)


def find_task(name: str) -> Task:
  """Returns the task of this name, or the task for the user's own rows.

  Args:
    name: a key of `TASKS`, a file of JSON lines, or `hf:NAME`. Rows of the last
      two have `context`, `question` and `answers`, a text or a list of texts.
      The prompt ends with the question, unchanged.

  Raises:
    ValueError: it is neither.
  """
  if name in TASKS:
    return TASKS[name]
  if name.startswith(rows.HUGGING_FACE) or name.endswith(rows.SUFFIXES):
    return _generate(question_answering.OWN, name)
  raise ValueError(
      f'task must be one of {", ".join(TASKS)}, or FILE.jsonl, got {name!r}'
  )


def by_likelihood(
    task: Task, found: Sequence[Example]
) -> tuple[Task, list[Example]]:
  """Makes a task that scores the first gold answer and generates nothing.

  This measures recall in models that are too small to answer.

  Args:
    task: a task; one that does not generate stays unchanged.
    found: its examples.
  """
  if task.kind != 'generate':
    return task, [*found]
  scored = task._replace(
      kind='last_word', metrics=('token_perplexity', 'accuracy')
  )
  return scored, [
      x._replace(choices=(f' {x.answers[0].strip()}',), label=0) for x in found
  ]


def examples(
    task: str,
    paths: str | Sequence[str] = (),
    *,
    tokenizer: Any,
    context_tokens: int | None = None,
    limit: int | None = None,
) -> Iterator[Example]:
  """Returns the examples of a task in the order of its rows.

  All prompts of an example have the same context. It is cut as in released
  evaluations: around the gold answer (FDA, SWDE, SQuAD, NQ), which therefore
  decides what is read, or to its first tokens (TriviaQA, DROP). In other tasks
  it is cut around a gold answer, if it has one, else to its first tokens;
  LAMBADA keeps the last tokens. Rows that released evaluations leave out are
  always left out; see `truncation.is_left_out`.

  Args:
    task: a task, see `find_task`.
    paths: files of JSON lines, plain, .gz or .zst; folders, in which the file
      is read whose name begins with the task's; names `hf:NAME:SPLIT:CONFIG` of
      data sets of Hugging Face. None: the file that is the task, or the data
      set that is its source.
    tokenizer: counts `context_tokens`. It has `encode(text)` and `decode(ids)`,
      or is a name or path as in `config.data`, or None.
    context_tokens: the most tokens of a context; None: all.
      `Task.context_tokens` has the number of released evaluations.
    limit: the most examples; None: all.

  Raises:
    FileNotFoundError: a file is missing; the message says where the data is.
    OSError: a data set cannot be downloaded.
    ValueError: the task is unknown, an argument is out of range, or a row does
      not have the fields of the task: the message names file, line and field.
  """
  for name, value in (('context_tokens', context_tokens), ('limit', limit)):
    if value is not None and value < 1:
      raise ValueError(f'{name} must be at least 1, got {value}')
  if context_tokens is not None and tokenizer is None:
    raise ValueError(
        'tokenizer must be given to count context_tokens, got None'
    )
  found = find_task(task)
  paths = (paths,) if isinstance(paths, str) else paths
  own = (task,) if task not in TASKS else ()
  files = rows.find(task, paths or own, found.source)
  cut = Cut()
  if context_tokens is not None:
    cut = Cut(tokens.load(tokenizer), context_tokens)
  return itertools.islice(_read(found, files, cut), limit)


def _read(task, files, cut):
  seen = {}
  for place, row in itertools.chain.from_iterable(map(rows.read, files)):
    content = json.dumps(row, sort_keys=True, default=str).encode()
    digest = hashlib.sha256(content).hexdigest()[:12]
    seen[digest] = seen.get(digest, 0) + 1
    # The same row again is another example.
    prefix = digest if seen[digest] == 1 else f'{digest}-{seen[digest]}'
    both = (task.read(place, row, each) for each in (cut, Cut()))
    for example, whole in zip(*both, strict=True):
      context = whole.again.context.strip()
      yield example._replace(
          id=f'{prefix}{example.id}',
          group=hashlib.sha256(context.encode()).hexdigest()[:12],
      )


def _generate(releases, source):
  metrics = ('contains', 'exact_match', 'f1')
  return Task('generate', releases, source, metrics, 48, ('\n',))


def _choices(releases, config, *more):
  source = f'hf:aps/super_glue:validation:{config}'
  return Task('choices', releases, source, ('accuracy', *more))


def _released(releases, name):
  """A task of the paper: contexts have 950 tokens, 1000 less 50 for answers."""
  source = f'hf:hazyresearch/{name}:validation'
  return _generate(releases, source)._replace(context_tokens=950)


TASKS = {
    'fda': _released(question_answering.FDA, 'based-fda'),
    'swde': _released(question_answering.SWDE, 'based-swde-v2'),
    'squad': _released(question_answering.SQUAD, 'based-squad'),
    'nq': _released(question_answering.NQ, 'based_nq_1024'),
    'triviaqa': _released(question_answering.TRIVIAQA, 'based_triviaqa'),
    'drop': _released(question_answering.DROP, 'based_drop'),
    'kv': _generate(
        needles.KEY_VALUE, 'https://github.com/nelson-liu/lost-in-the-middle'
    ),
    'ruler': _generate(needles.RULER, 'https://github.com/NVIDIA/RULER'),
    'lambada': Task(
        'last_word',
        last_word.LAMBADA,
        'hf:EleutherAI/lambada_openai:test',
        ('accuracy', 'perplexity'),
    ),
    'superglue_boolq': _choices(super_glue.BOOLQ, 'boolq'),
    'superglue_cb': _choices(super_glue.CB, 'cb', 'macro_f1'),
    'superglue_copa': _choices(
        super_glue_choices.COPA, 'copa', 'accuracy_normalised'
    ),
    'superglue_multirc': _choices(super_glue_choices.MULTIRC, 'multirc', 'f1a'),
    'superglue_rte': _choices(super_glue.RTE, 'rte'),
    'superglue_wic': _choices(super_glue.WIC, 'wic'),
    'superglue_wsc': _choices(super_glue.WSC, 'wsc.fixed'),
    'superglue_record': _choices(
        super_glue_choices.RECORD, 'record', 'exact_match', 'f1'
    ),
}
