"""Rows of every task, in files as a user has them."""

import json

import pytest

CLOZE = {
    'context': 'The Rhine is 1,230 km long.',
    'question': 'The Rhine is',
    'orig_question': 'How long is the Rhine?',
    'answers': ['1,230 km', '1,230'],
}
ATTRIBUTE = {
    'text': 'K160702 is an immunoassay by Phadia.',
    'key': 'applicant',
    'value': 'Phadia',
}
ENTAILED = {'premise': 'It rains.', 'hypothesis': 'It is wet.', 'label': 1}
ROWS = {
    'fda': ATTRIBUTE,
    'swde': ATTRIBUTE,
    'squad': {
        'text': 'Background: It is 1,230 km long.\nQuestion: How long? It is',
        'context': 'Background: It is 1,230 km long.\nQuestion: How long?',
        'question': 'How long is the Rhine?',
        'value': '1,230 km',
    },
    'nq': CLOZE,
    'triviaqa': CLOZE,
    'drop': CLOZE,
    'kv': {
        'ordered_kv_records': [['a', 'one'], ['b', 'two']],
        'key': 'b',
        'value': 'two',
    },
    'ruler': {
        'input': 'A special uuid is 0e71.\nWhat is the uuid? It is',
        'outputs': ['0e71'],
    },
    'file': {
        'context': 'Ann likes tea.',
        'question': 'Ann likes',
        'answers': ['tea'],
    },
    'lambada': {'context': 'She drank her', 'continuation': 'tea'},
    'superglue_boolq': {
        'passage': 'Water is wet.',
        'question': 'is water wet',
        'label': 1,
    },
    'superglue_cb': ENTAILED,
    'superglue_rte': ENTAILED,
    'superglue_copa': {
        'premise': 'The man turned on the faucet.',
        'choice1': 'The toilet filled.',
        'choice2': 'Water flowed.',
        'question': 'effect',
        'label': 1,
    },
    'superglue_multirc': {
        'paragraph': 'A force moves things.',
        'question': 'What moves things?',
        'answer': 'A force',
        'label': 1,
    },
    'superglue_record': {
        'passage': 'Ann met Bob.\n@highlight\nThey met',
        'query': '@placeholder met Bob.',
        'entities': ['Ann', 'Bob', 'Cid'],
        'answers': ['Ann'],
    },
    'superglue_wic': {
        'word': 'class',
        'sentence1': 'A class of ten.',
        'sentence2': 'She has class.',
        'start1': 2,
        'end1': 7,
        'label': 0,
    },
    'superglue_wsc': {
        'text': 'Ann said she slept.',
        'span1_text': 'Ann',
        'span2_text': 'she',
        'span2_index': 2,
        'label': 1,
    },
}


@pytest.fixture(scope='package')
def data(tmp_path_factory):
  """A folder with a file of one row for each task."""
  folder = tmp_path_factory.mktemp('rows')
  for name, row in ROWS.items():
    (folder / f'{name}.jsonl').write_text(json.dumps(row))
  return folder


@pytest.fixture(scope='package')
def utils():
  from jrt_jax.evaluation.lm_eval_tasks import utils

  return utils
