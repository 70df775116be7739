"""Questions about a document: the paper's six tasks, and the user's own rows.

Rows of other releases are first converted to the released schema, so that the
released prompts and cuts apply to them, too. Their questions are not rewritten
as statements; they are asked as `Question: ...` and `Answer:`.

An answer of one character occurs in almost every line of text, so that
`contains` would find it. Released evaluations leave out rows with such a gold
answer, except in TriviaQA and DROP; rows of these two tasks are also kept here
if they have the released schema. In other releases such rows are left out of
all tasks. For DROP's contrast set these are 236 of 947 rows: its scores are
those of longer answers, not of all of DROP.

Source: Arora et al. 2024, section 3 and appendix B,
https://arxiv.org/abs/2407.05483.
"""

from collections.abc import Callable, Iterator

from jrt_jax import schema
from jrt_jax.evaluation.recall import rows
from jrt_jax.evaluation.recall.example import Cut
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import templates
from jrt_jax.prompting import truncation

_MOST = 10_000  # the most answers or documents of a row
_TEXTS = schema.AnyOf(rows.TEXT, schema.ListOf(rows.TEXT, 1, _MOST))


def _released(
    task: str, field: str, convert: Callable[[rows.Row], rows.Row] = dict
) -> Callable[[rows.Row, Cut], Iterator[Example]]:
  """Returns a function from a row to an example, by way of the released schema.

  Args:
    task: a key of `templates.TASKS`.
    field: the field of a record that has the answers.
    convert: a function from a row to a record.
  """

  def read(row, cut):
    record = convert(row)
    if truncation.is_left_out(task, record):
      return
    answers = _texts(record[field])
    if not answers:
      raise ValueError(f'{field} must have a text that is not blank')
    if convert is not dict and len(answers[0]) == 1:
      return
    record = (_cut_squad if task == 'squad' else Cut.record)(cut, task, record)
    once, again = (
        templates.task_parts(task, record, once=once) for once in (True, False)
    )
    yield Example('', once, again, answers)

  return read


def _cut_squad(cut, task, record):
  """Cuts the text before the question; released cuts may lose the question."""
  text = record['text'].strip()
  context = record['context'].split('Question:')[0]
  before = context.strip()
  if cut.budget is None or not text.startswith(before):
    return cut.record(task, record)
  question = text.removeprefix(before)
  part = cut.less(question).record(task, record | {'text': before})['text']
  end = context[len(context.rstrip()) :]
  return record | {'text': part + question, 'context': part + end}


def _own(row, cut):
  answers = _texts(row['answers'])
  context, question = cut.around(row['context'], answers), row['question']
  parts = templates.Parts(question, context, question, f'{context} {question}')
  yield Example('', parts, parts, answers)


def _squad_of_query(row):
  text = row['query'].strip()
  before, mark, question = text.partition('\nQuestion:')
  if not mark:
    raise ValueError('query must have a line that begins with Question:')
  question = question.removesuffix('Answer:').strip()
  return {
      'text': text,
      'context': before + '\n',
      'question': question,
      'value': _telling(row['answers_text']),
  }


def _retrieved(row):
  documents = (f'{doc["title"]}: {doc["text"]}' for doc in row['docs'])
  answers = _telling(row['golden_answers'])
  record = _asked('\n'.join(documents), row['question'], answers)
  return record | {'alt_answers': answers[1:]}


def _drop(row):
  answers = [row['answer'], *row.get('validated_answers', ())]
  answers = _telling([*map(_drop_answer, answers)])
  return _asked(row['passage'], row['question'], answers)


def _drop_answer(answer):
  """A number, all spans, or a date: the other fields are empty."""
  date = (answer['date'][part] for part in ('day', 'month', 'year'))
  return (
      answer['number']
      or ', '.join(answer['spans'])
      or ' '.join(part for part in date if part)
  )


def _asked(context, question, answers):
  question = f'{question.strip().removesuffix("?").strip()}?'
  return {
      'context': context,
      'question': f'Question: {question}\nAnswer:',
      'orig_question': question,
      'answers': answers,
  }


def _telling(answers):
  """Drops later answers of one character; the first decides about the row."""
  return answers[:1] + [text for text in answers[1:] if len(text) > 1]


def _texts(answers):
  answers = (answers,) if isinstance(answers, str) else answers
  return tuple(dict.fromkeys(text for text in answers if text.strip()))


_ATTRIBUTE = {'text': rows.TEXT, 'key': rows.TEXT, 'value': rows.TEXT}
_CLOZE = {
    'optional': {'alt_answers': schema.ListOf(rows.TEXT, 0, _MOST)},
    'context': rows.TEXT,
    'question': rows.TEXT,
    'orig_question': rows.TEXT,
    'answers': _TEXTS,
}
_RETRIEVED = {
    'question': rows.FILLED,
    'golden_answers': schema.ListOf(rows.FILLED, 1, _MOST),
    'docs': schema.ListOf(
        rows.record(title=rows.TEXT, text=rows.TEXT), 1, _MOST
    ),
}
_DROP_ANSWER = rows.record(
    number=rows.TEXT,
    spans=schema.ListOf(rows.TEXT, 0, _MOST),
    date=rows.record(day=rows.TEXT, month=rows.TEXT, year=rows.TEXT),
)

FDA = (rows.release(_released('fda', 'value'), **_ATTRIBUTE),)
SWDE = (rows.release(_released('swde', 'value'), **_ATTRIBUTE),)
SQUAD = (
    rows.release(
        _released('squad', 'value'),
        text=rows.TEXT,
        context=rows.TEXT,
        question=rows.TEXT,
        value=_TEXTS,
    ),
    rows.release(
        _released('squad', 'value', _squad_of_query),
        query=rows.FILLED,
        answers_text=schema.ListOf(rows.TEXT, 1, _MOST),
    ),
)
NQ = (
    rows.release(_released('nq', 'answers'), **_CLOZE),
    rows.release(_released('nq', 'answers', _retrieved), **_RETRIEVED),
)
TRIVIAQA = (
    rows.release(_released('triviaqa', 'answers'), **_CLOZE),
    rows.release(_released('triviaqa', 'answers', _retrieved), **_RETRIEVED),
)
DROP = (
    rows.release(_released('drop', 'answers'), **_CLOZE),
    rows.release(
        _released('drop', 'answers', _drop),
        passage=rows.FILLED,
        question=rows.FILLED,
        answer=_DROP_ANSWER,
        optional={'validated_answers': schema.ListOf(_DROP_ANSWER, 0, _MOST)},
    ),
)
OWN = (
    rows.release(
        _own,
        context=rows.FILLED,
        question=rows.FILLED,
        answers=schema.AnyOf(rows.FILLED, schema.ListOf(rows.FILLED, 1, _MOST)),
    ),
)
