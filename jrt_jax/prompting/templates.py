"""Prompts that show their context twice (JRT-Prompt), for each task.

In an order such as QDDQ, D is the context and Q the question. The paper
compares DQ with QDDQ. QDQ and DDQ show which of its two changes helps: the
question at the start or the repetition. DQDQ starts with the same text for all
questions.

Source: Arora et al. 2024, section 3, https://arxiv.org/abs/2407.05483, and the
released prompts, https://github.com/HazyResearch/prefix-linear-attention.
"""

from collections.abc import Callable, Mapping, Sequence
import re
from typing import Any, NamedTuple

Record = Mapping[str, Any]


class Parts(NamedTuple):
  """The parts of prompts."""

  intro: str  # the question before the context
  context: str  # each copy of the context but the last
  question: str  # the question at the end, which the answer continues
  last: str  # the last copy of the context, with the question


class Task(NamedTuple):
  """How the records of a dataset become prompts.

  Attributes:
    parts: a function from a record, and whether the order is DQ, to `Parts`.
    field: the field of a record that has the context.
    answers: fields with answers; a cut context must keep one of them.
    read: a function from the value of `field` to the context in it.
  """

  parts: Callable[[Record, bool], Parts]
  field: str
  answers: Sequence[str] = ()
  read: Callable[[str], str] = str


def jrt_prompt(
    context: str,
    question: str,
    p: int = 2,
    *,
    order: str | None = None,
    intro: str | None = None,
) -> str:
  """Returns a prompt that shows `context` p times.

  An order says what the prompt shows: D is the context (document), Q the question.

  Args:
    context: the text that has the answer.
    question: the end of the prompt, which the answer continues.
    p: how often the context is shown: 1 is DQ, 2 is QDDQ, 3 is QDDDQ.
    order: another order in place of `p`, such as 'DQDQ'; each Q but the first
      follows a D.
    intro: the question at the start, if it differs from `question`.

  Raises:
    ValueError: `p` or `order` is not valid.
  """
  intro = question if intro is None else intro
  parts = Parts(intro, context, question, f'{context} {question}')
  return arrange(parts, _order(p) if order is None else order)


def task_prompt(
    task: str, record: Record, p: int = 2, *, order: str | None = None
) -> str:
  """Returns the prompt of a record; DQ and QDDQ are the released prompts.

  Args:
    task: a key of `TASKS`.
    record: a row of the task's dataset, with the original fields.
    p, order: see `jrt_prompt`.

  Raises:
    ValueError: `task` is unknown, or `p` or `order` is not valid.
  """
  order = _order(p) if order is None else order
  return arrange(task_parts(task, record, once=order == 'DQ'), order)


def arrange(parts: Parts, order: str) -> str:
  """Returns the prompt of an order, see `jrt_prompt`.

  Raises:
    ValueError: `order` is not valid.
  """
  if not re.fullmatch('Q?(DQ?)*DQ', order):
    raise ValueError(
        'order must be D and Q, each Q but the first after a D, and end with'
        f' DQ, got {order!r}'
    )
  intro = f'{parts.intro} ' if order.startswith('Q') else ''
  readings = re.findall('DQ?', order)
  return intro + '\n'.join(
      parts.context if reading == 'D' else parts.last for reading in readings
  )


def task_parts(task: str, record: Record, *, once: bool = False) -> Parts:
  """Returns the parts of the prompts of a record.

  Released prompts clean the context differently if it is shown `once`.
  """
  return find_task(task).parts(record, once)


def find_task(name: str) -> Task:
  """Returns the task of this name; raises ValueError if there is none."""
  if name not in TASKS:
    raise ValueError(f'task must be one of {", ".join(TASKS)}, got {name!r}')
  return TASKS[name]


def _order(p):
  if p < 1:
    raise ValueError(f'p must be at least 1, got {p}')
  return 'DQ' if p == 1 else f'Q{"D" * p}Q'


def _swde(record, once):
  text = _without_summary(record['text'])
  text = _without_end(text, f'{record["key"]}:')
  if once:
    return _attribute(record['key'], text.strip().strip('.') + '.')
  text = text.strip('\n').strip('.').strip()
  return _attribute(record['key'], text if text.endswith('.') else f'{text}.')


def _fda(record, once):
  del once
  text = _without_end(record['text'], f'{record["key"]}:')
  return _attribute(record['key'], text.strip('\n').strip('.') + '.')


def _squad(record, once):
  del once
  text = record['text'].strip()
  context = record['context'].split('Question:')[0]
  question = text.removeprefix(context.strip()).strip()
  return Parts(record['question'], context, question, text)


def _natural_questions(record, once):
  if once:  # in other prompts, the repeated question is kept
    context, question = record['context'].strip(), record['question'].strip()
    context = context.removesuffix(question)
    return _cloze(record, once, context, record['orig_question'].strip(':'))
  return _drop(record, once)


def _trivia_qa(record, once):
  context = re.sub(r'\[(?:PAR|DOC|TLE)\]', '', record['context'].strip())
  context = _without_end(context, record['question'].strip())
  return _cloze(record, once, context, record['orig_question'])


def _drop(record, once):
  context = record['context'].strip()
  context = _without_end(context, record['question'].strip())
  return _cloze(record, once, context, record['orig_question'].strip(':'))


def _attribute(key, context):
  question = f'{key[:1].upper()}{key[1:]}:'
  intro = f'Information about {question.strip(":")}.'
  return Parts(intro, context, question, f'{context} {question}')


def _cloze(record, once, context, intro):
  """Parts from a question and its rewriting, which ends with the answer."""
  context = context.strip().strip('.')
  context = (context if once else context.strip()) + '.'
  question = record['question'].strip()
  return Parts(intro, context, question, f'{context} {question}')


def _without_summary(text):
  return text.partition('Summary of information above...')[0]


def _without_end(context, question):
  """Drops the question that some contexts end with."""
  while question and context.lower().endswith(question.lower()):
    context = context[: -len(question)]
  return context


TASKS = {
    'swde': Task(_swde, 'text', ('key', 'value'), _without_summary),
    'fda': Task(_fda, 'text', ('key', 'value')),
    'squad': Task(_squad, 'text', ('value',)),
    'nq': Task(_natural_questions, 'context', ('answers',)),
    'triviaqa': Task(_trivia_qa, 'context'),
    'drop': Task(_drop, 'context'),
}
