"""A row of each schema, its prompt, and who answers it rightly."""

from typing import NamedTuple

from golden import prompts

PASSAGE = 'The Rhine flows to the sea. It is 1,230 km long, and old.'
ASKED = 'Question: How long is it?\nAnswer:'


class Case(NamedTuple):
  """A row, the prompt that reads its context once, and all right answers."""

  task: str
  row: dict
  prompt: str
  right: tuple[str, ...]
  wrong: tuple[str, ...] = ()  # other choices


def drop(**answer):
  date = {'day': '', 'month': '', 'year': ''} | answer.pop('date', {})
  answer = {'number': '', 'spans': [], 'date': date} | answer
  return {'passage': PASSAGE, 'question': 'How long is it?', 'answer': answer}


RETRIEVED = {
    'question': 'how long is it',
    'golden_answers': ['1,230 km', 'long'],
    'docs': [
        {'title': 'Rhine', 'text': PASSAGE},
        {'title': 'Sea', 'text': 'Salty.'},
    ],
}
_RETRIEVED_PROMPT = (
    f'Rhine: {PASSAGE}\nSea: Salty. Question: how long is it?\nAnswer:'
)
SPANS = {'span1_text': 'Tom', 'span2_text': 'he', 'span2_index': 6}
_WSC_TEXT = 'Tom said " hello " , and he did n\'t go .'
_WSC_PROMPT = (
    'Passage: Tom said"hello", and *he* didn\'t go.\nQuestion: In the passage'
    ' above, does the pronoun "*he*" refer to "*Tom*"?\nAnswer:'
)
_ARTICLE = 'In Bonn and Cologne.\nFlood in Bonn.\n@highlight\nIt rained'
_RECORD_PROMPT = 'In Bonn and Cologne.\nFlood in Bonn.\n\n  - It rained.\n'
_MULTIRC_PROMPT = f'{PASSAGE}\nQuestion: How long?\nAnswer:'
_CORRECT = '\nIs the answer correct?'

CASES = [
    *(
        Case(
            task,
            record,
            default,
            tuple(record.get('answers', [record.get('value')])),
        )
        for task, (record, default, _) in prompts.RELEASED.items()
    ),
    Case(
        'squad',
        {
            'query': (
                f'Title: Rhine\nBackground: {PASSAGE}\nQuestion: How long is'
                ' it?\nAnswer:'
            ),
            'answers_text': ['1,230 km', '1,230', '1,230'],
        },
        f'Title: Rhine\nBackground: {PASSAGE}\n{ASKED}',
        ('1,230 km', '1,230'),
    ),
    *(
        Case(task, RETRIEVED, _RETRIEVED_PROMPT, ('1,230 km', 'long'))
        for task in ('nq', 'triviaqa')
    ),
    *(
        Case('drop', drop(**answer), f'{PASSAGE} {ASKED}', (right,))
        for answer, right in [
            ({'number': '1230'}, '1230'),
            ({'spans': ['Rhine', 'sea']}, 'Rhine, sea'),
            ({'date': {'month': 'May', 'year': '1815'}}, 'May 1815'),
        ]
    ),
    Case(
        'kv',
        {
            'ordered_kv_records': [['a"', 'x1'], ['b', 'y2']],
            'key': 'b',
            'value': 'y2',
        },
        '{"a\\"": "x1",\n "b": "y2"}\nKey: "b"\nValue:',
        ('y2',),
    ),
    Case(
        'ruler',
        {
            'input': 'Memorize it.\nThe key of a is: 7.\nWhat is a? It is',
            'outputs': ['7.'],
        },
        'Memorize it.\nThe key of a is: 7.\nWhat is a? It is',
        ('7.',),
    ),
    Case(
        'lambada',
        {'context': PASSAGE + ' Ships go to the', 'continuation': 'sea'},
        PASSAGE + ' Ships go to the',
        (' sea',),
    ),
    Case(
        'lambada',
        {'text': PASSAGE + ' Ships go to the sea'},
        PASSAGE + ' Ships go to the',
        (' sea',),
    ),
    Case(
        'superglue_boolq',
        {'passage': PASSAGE, 'question': 'is it long', 'label': True},
        f'{PASSAGE}\nQuestion: is it long?\nAnswer:',
        (' yes',),
        (' no',),
    ),
    *(
        Case(
            'superglue_cb',
            {'premise': 'It rains.', 'hypothesis': 'it is dry', 'label': label},
            'It rains.\nQuestion: it is dry. True, False, or Neither?\nAnswer:',
            (right,),
            tuple({' True', ' False', ' Neither'} - {right}),
        )
        for label, right in [
            ('entailment', ' True'),
            ('contradiction', ' False'),
            (1, ' False'),
            (2, ' Neither'),
        ]
    ),
    *(
        Case(
            'superglue_rte',
            {'premise': 'It rains.', 'hypothesis': 'It is.', 'label': label},
            'It rains.\nQuestion: It is. True or False?\nAnswer:',
            (right,),
            (wrong,),
        )
        for label, right, wrong in [
            ('entailment', ' True', ' False'),
            ('not_entailment', ' False', ' True'),
            (1, ' False', ' True'),
        ]
    ),
    *(
        Case(
            'superglue_copa',
            {
                'premise': 'The street is wet.',
                'choice1': 'It rained.',
                'choice2': 'It shone.',
                'question': question,
                'label': 0,
            },
            f'The street is wet {connector}',
            ('  it rained.',),
            ('  it shone.',),
        )
        for question, connector in [
            ('cause', 'because'),
            ('effect', 'therefore'),
        ]
    ),
    Case(
        'superglue_multirc',
        {
            'paragraph': PASSAGE,
            'question': 'How long?',
            'answer': 'Very',
            'label': 1,
        },
        _MULTIRC_PROMPT,
        (f' Very{_CORRECT} yes',),
        (f' Very{_CORRECT} no',),
    ),
    Case(
        'superglue_multirc',
        {
            'passage': {
                'text': PASSAGE,
                'questions': [
                    {
                        'question': 'How long?',
                        'answers': [{'text': 'Short', 'label': 0}],
                    }
                ],
            }
        },
        _MULTIRC_PROMPT,
        (f' Short{_CORRECT} no',),
        (f' Short{_CORRECT} yes',),
    ),
    Case(
        'superglue_wic',
        {
            'sentence1': 'A river bank.',
            'sentence2': 'Banks lend.',
            'start1': 8,
            'end1': 12,
            'label': False,
        },
        'Sentence 1: A river bank.\nSentence 2: Banks lend.\nQuestion: Is the'
        " word 'bank' used in the same way in the two sentences above?\n"
        'Answer:',
        (' no',),
        (' yes',),
    ),
    *(
        Case('superglue_wsc', row, _WSC_PROMPT, (' yes',), (' no',))
        for row in (
            {'text': _WSC_TEXT, 'label': 1, **SPANS},
            {'text': _WSC_TEXT, 'label': True, 'target': SPANS},
            {'text': _WSC_TEXT, 'label': 1, **SPANS, 'span2_index': 8},
        )
    ),
    Case(
        'superglue_record',
        {
            'passage': _ARTICLE,
            'query': '@placeholder is wet',
            'entities': ['Cologne', 'Bonn', 'Berlin', 'Bonn'],
            'answers': ['Bonn', 'Berlin', 'Bonn'],
        },
        _RECORD_PROMPT,
        ('   - Bonn is wet', '   - Berlin is wet'),
        ('   - Cologne is wet',),
    ),
    Case(
        'superglue_record',
        {
            'passage': {
                'text': _ARTICLE,
                'entities': [
                    {'start': 3, 'end': 6},
                    {'start': 12, 'end': 18},
                    {'start': 30, 'end': 33},
                ],
            },
            'qas': [
                {
                    'query': '@placeholder is wet',
                    'answers': [{'start': 3, 'end': 6, 'text': 'Bonn'}],
                }
            ],
        },
        _RECORD_PROMPT,
        ('   - Bonn is wet',),
        ('   - Cologne is wet',),
    ),
    Case(
        'own.jsonl',
        {'context': PASSAGE, 'question': 'Length:', 'answers': '1,230 km'},
        f'{PASSAGE} Length:',
        ('1,230 km',),
    ),
    Case(
        'own.jsonl',
        {'context': PASSAGE, 'question': 'Length:', 'answers': ['1,230', 'km']},
        f'{PASSAGE} Length:',
        ('1,230', 'km'),
    ),
]


def find(task, index=0):
  """Returns a case of a task."""
  return [case for case in CASES if case.task == task][index]
