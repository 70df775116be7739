"""Tasks of SuperGLUE whose choices are sentences: COPA, MultiRC and ReCoRD.

Prompts and choices are exactly those of the harness, including its blank before
a choice that begins with a blank. There is one difference: for MultiRC, the
harness treats "no" as right if an answer is correct.

Sources: see `super_glue`.
"""

from jrt_jax import schema
from jrt_jax.evaluation.recall import rows
from jrt_jax.evaluation.recall import super_glue
from jrt_jax.evaluation.recall.example import Cut
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import templates

_CONNECTOR = {'cause': 'because', 'effect': 'therefore'}
_INDEX = schema.Whole(0, 2**24)
_MOST = 10_000  # the most items of a row


def _copa(row, cut):
  premise = cut.around(row['premise'].strip()[:-1])  # without its period
  connector = _CONNECTOR[row['question']]
  parts = templates.Parts(
      f'What was the {row["question"]}?',
      premise,
      connector,
      f'{premise} {connector}',
  )
  choices = (row['choice1'], row['choice2'])
  choices = tuple(f'  {text[0].lower()}{text[1:]}' for text in choices)
  yield Example('', parts, parts, choices=choices, label=int(row['label']))


def _multirc(row, cut):
  paragraph = cut.around(row['paragraph'])
  asked = f' {row["answer"]}\nIs the answer correct?'
  choices = tuple(f'{asked}{answer}' for answer in super_glue.NO_YES)
  question = f'Question: {row["question"]}'
  yield super_glue.question(paragraph, question, choices, row['label'])


def _multirc_of_passage(row, cut):
  paragraph = cut.around(row['passage']['text'])  # once for all its questions
  for i, question in enumerate(row['passage']['questions']):
    for j, answer in enumerate(question['answers']):
      flat = {
          'paragraph': paragraph,
          'question': question['question'],
          'answer': answer['text'],
          'label': answer['label'],
      }
      for example in _multirc(flat, Cut()):
        yield example._replace(id=f'/{i}/{j}')


def _record(row, cut):
  """The highlights of an article, continued by a query with an entity in it."""
  entities, answers = sorted({*row['entities']}), sorted({*row['answers']})
  query, right = row['query'], [x for x in entities if x in answers]
  if '@placeholder' not in query:
    raise ValueError('query must have a @placeholder')
  if not right:
    raise ValueError('answers must have one of the entities')
  article, *highlights = row['passage'].strip().split('\n@highlight\n')
  article = cut.around(article, right)
  question = ''.join(f'  - {text}.\n' for text in highlights)
  last = f'{article}\n\n{question}'
  choices = (query.replace('@placeholder', entity) for entity in entities)
  parts = templates.Parts(query, article, question, last)
  yield Example(
      '',
      parts,
      parts,
      answers=tuple(answers),
      choices=tuple(f'   - {text}' for text in choices),
      label=entities.index(right[0]),
      names=tuple(entities),
  )


def _record_of_passage(row, cut):
  passage = row['passage']
  text = passage['text']
  entities = [text[x['start'] : x['end'] + 1] for x in passage['entities']]
  for i, query in enumerate(row['qas']):
    flat = {
        'passage': text,
        'query': query['query'],
        'entities': entities,
        'answers': [answer['text'] for answer in query['answers']],
    }
    for example in _record(flat, cut):
      yield example._replace(id=f'/{i}')


def _list(**fields):
  return schema.ListOf(rows.record(**fields), 1, _MOST)


_TEXTS = schema.ListOf(rows.TEXT, 1, _MOST)

COPA = (
    rows.release(
        _copa,
        premise=rows.FILLED,
        choice1=rows.FILLED,
        choice2=rows.FILLED,
        question=schema.OneOf(*_CONNECTOR),
        label=super_glue.BINARY,
    ),
)
MULTIRC = (
    rows.release(
        _multirc,
        paragraph=rows.FILLED,
        question=rows.FILLED,
        answer=rows.TEXT,
        label=super_glue.BINARY,
    ),
    rows.release(
        _multirc_of_passage,
        passage=rows.record(
            text=rows.FILLED,
            questions=_list(
                question=rows.FILLED,
                answers=_list(text=rows.TEXT, label=super_glue.BINARY),
            ),
        ),
    ),
)
RECORD = (
    rows.release(
        _record,
        passage=rows.FILLED,
        query=rows.FILLED,
        entities=_TEXTS,
        answers=_TEXTS,
    ),
    rows.release(
        _record_of_passage,
        passage=rows.record(
            text=rows.FILLED, entities=_list(start=_INDEX, end=_INDEX)
        ),
        qas=_list(query=rows.FILLED, answers=_list(text=rows.FILLED)),
    ),
)
