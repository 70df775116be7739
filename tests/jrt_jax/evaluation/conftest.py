"""A model of bytes with every kind of state and a prefix of 8 tokens; rows."""

import json

import jax
import pytest

from jrt_jax import generation
from jrt_jax import models
from jrt_jax.data import tokenizers

# Of recall tasks, one each; `file` is a row of one's own.
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


@pytest.fixture(scope='session')
def model(tiny_config):
  config = tiny_config(
      mixers=('conv', 'pla', 'swa', 'attention'), vocab_size=257
  )
  params = models.split(models.build(config))[1]
  # Without this an untrained model with tied embeddings repeats its input.
  scale = jax.random.normal(jax.random.key(2), (config['width'],))
  run = {
      'model': config,
      'prefix': {'name': 'fixed', 'capacity': 0.5},
      'sequence_length': 16,
      'data': {'tokenizer': 'bytes'},
  }
  return generation.Model(
      run, params | {'final_norm.scale': scale}, tokenizers.Bytes()
  )


@pytest.fixture(scope='session')
def parallel(model):
  """A function from tokens [N, L] and prefix_len [N] to logits [N, L, V]."""

  @jax.jit
  def logits(tokens, prefix_len):
    return model.merge(model.params)(tokens, prefix_len=prefix_len)

  return logits


@pytest.fixture(scope='session')
def recall_rows(tmp_path_factory):
  """A folder with a file of one row for each task."""
  folder = tmp_path_factory.mktemp('rows')
  for name, row in ROWS.items():
    (folder / f'{name}.jsonl').write_text(json.dumps(row))
  return folder
