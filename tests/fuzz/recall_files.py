"""READERS of what recall asks, and of what was answered."""

import functools
import json

from fuzz.reader import dump
from fuzz.reader import Reader
from jrt_jax.evaluation.recall import questions
from jrt_jax.evaluation.recall import record
from jrt_jax.evaluation.recall import report
from jrt_jax.evaluation.recall import runner
from jrt_jax.evaluation.recall import tasks
from jrt_jax.prompting import templates
from jrt_jax.reproduce import comparisons
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import recall_results

# A row of most releases; the others share their functions.
_ROWS = {
    'fda': {'text': 'It is long.', 'key': 'length', 'value': 'long'},
    'squad': {
        'query': 'Title: a\nQuestion: b?\nAnswer:',
        'answers_text': ['aa', 'b'],
    },
    'nq': {
        'question': 'a',
        'golden_answers': ['long'],
        'docs': [{'title': 'b', 'text': 'It is long.'}],
    },
    'nq-released': {
        'context': 'It is long.',
        'question': 'It is',
        'orig_question': 'how',
        'answers': ['no'],
        'alt_answers': ['long', 'a'],
    },
    'drop': {
        'passage': 'a',
        'question': 'b',
        'answer': {
            'number': '',
            'spans': [],
            'date': {'day': '', 'month': 'May', 'year': '1815'},
        },
    },
    'kv': {
        'ordered_kv_records': [['a', 'b'], ['c', 'd']],
        'key': 'a',
        'value': 'b',
    },
    'ruler': {'input': 'a is b.\nWhat is a? It is', 'outputs': ['b']},
    'lambada': {'context': 'One day. It rained', 'continuation': 'hard'},
    'superglue_wic': {
        'sentence1': 'A bank.',
        'sentence2': 'Banks lend.',
        'start1': 2,
        'end1': 6,
        'label': False,
    },
    'superglue_wsc': {
        'text': 'Tom said he did .',
        'target': {'span1_text': 'Tom', 'span2_text': 'he', 'span2_index': 2},
        'label': True,
    },
    'superglue_copa': {
        'premise': 'It is wet.',
        'choice1': 'It rained.',
        'choice2': 'It shone.',
        'question': 'cause',
        'label': 0,
    },
    'superglue_multirc': {
        'passage': {
            'text': 'a',
            'questions': [
                {'question': 'b', 'answers': [{'text': 'c', 'label': 1}]}
            ],
        }
    },
    'superglue_record': {
        'passage': {
            'text': 'In Bonn\n@highlight\nIt rained',
            'entities': [{'start': 3, 'end': 6}],
        },
        'qas': [{'query': '@placeholder', 'answers': [{'text': 'Bonn'}]}],
    },
}


def _write_rows(folder, row):
  (folder / 'a.jsonl').write_text(2 * (json.dumps(row) + '\n'))


def _read_rows(folder, task):
  path = str(folder / 'a.jsonl')
  for _ in tasks.examples(task, [path], tokenizer='bytes', context_tokens=9):
    pass


def _write_answers(folder):
  values = {'contains': 1.0, 'exact_match': 0.0, 'f1': 0.5}
  row = {'task': 'a.jsonl', 'id': 'b', 'tokens': 3, 'cut': False}
  row |= {'prefill_ms': 1.5, 'values': values, 'error': None}
  with record.opened(folder, {}) as answers:
    answers.append([row | {'prompt': kind} for kind in ('default', 'twice')])


def _read_answers(folder):
  """Goes on from answers; those that are not there cannot be asked for."""
  with record.opened(folder, {}) as answers:
    finished = answers.rows
  parts = templates.Parts('a', 'b', 'c', 'd')
  example = tasks.Example('b', parts, parts, ('e',))
  work = questions.Work('a.jsonl', tasks.find_task('a.jsonl'), [example])
  asked = [
      questions.Question(work, kind, example, '', 0)
      for kind in ('default', 'twice')
  ]
  rows = {(r['task'], r['prompt'], r['id']) for r in finished}
  if {q.key for q in asked} <= rows:
    settings = questions.Settings()
    found = runner.run(None, asked, settings, finished=finished)
    report.tables(report.results([work], found))


def _write_recall(folder):
  estimate = {'estimate': 0.5, 'low': 0.4, 'high': None, 'n': 9, 'method': 'a'}
  kind = {'metrics': {'contains': estimate}, 'values': [1.0, 0.0]}
  other = kind | {'against_default': {'contains': estimate}}
  found = {
      'fda': {
          'prompts': {'default': kind, 'twice': other},
          'contexts': [0, 1],
          'digest': 'a',
      }
  }
  settings = {'model': 'a', 'tasks': ['fda'], 'max_tokens': [48], 'step': 1}
  run = {'mixers': ['pla'], 'seed': 1, 'but_seed': 'a'}
  about = dict.fromkeys(('hardware', 'device', 'date', 'command'), 'a')
  about |= {'versions': {'jax': '1'}, 'commit': None, 'run': run}
  whole = {'settings': settings, 'results': found, **about}
  dump(folder, 'result.json', whole)


def _read_recall(folder):
  figures = recall_results.measure({'file': folder / 'result.json'}, folder)
  results = {'result-0': exhibit.Done({}, figures)}
  recall_results.table(recall_results.gains(results, 'twice'), 'twice')
  comparisons.by_measure(results, comparisons.is_plain('default'))


READERS = {
    'recall': Reader('result.json', 'json', _write_recall, _read_recall),
    'answers': Reader('examples.jsonl', 'jsonl', _write_answers, _read_answers),
} | {
    f'rows_{name}': Reader(
        'a.jsonl',
        'jsonl',
        functools.partial(_write_rows, row=row),
        functools.partial(_read_rows, task=name.partition('-')[0]),
    )
    for name, row in _ROWS.items()
}
