"""READERS: what reads files of others, and a valid file for each."""

from collections.abc import Callable
import dataclasses
import functools
import json
import pathlib
import struct
from typing import Any, NamedTuple

import numpy as np
import tokenizers as hf

from configs import base
from fuzz import mutations
from jrt_jax import foreign
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.data import manifest as manifests
from jrt_jax.data import megatron_file
from jrt_jax.data import shards
from jrt_jax.data import sources
from jrt_jax.data import tokenizers
from jrt_jax.evaluation.recall import questions
from jrt_jax.evaluation.recall import record
from jrt_jax.evaluation.recall import report
from jrt_jax.evaluation.recall import runner
from jrt_jax.evaluation.recall import tasks
from jrt_jax.generation import model as model_lib
from jrt_jax.generation import reading
from jrt_jax.generation import state_file
from jrt_jax.generation.pieces import Piece
from jrt_jax.interchange import agreement
from jrt_jax.interchange import config_from_official
from jrt_jax.interchange import hugging_face
from jrt_jax.prefix import fitting
from jrt_jax.prefix import learned
from jrt_jax.prefix import plays
from jrt_jax.prefix import policies
from jrt_jax.prompting import templates
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import recall_results
from jrt_jax.reproduce import versus
from jrt_jax.training import curves
from jrt_jax.training import intact
from jrt_jax.training import recorded_config

Folder = pathlib.Path


class Reader(NamedTuple):
  """What reads a file of others.

  Attributes:
    file: its name, in a folder.
    kind: of `mutations.KINDS`.
    write: writes a valid one, and what must lie beside it.
    read: reads it, and uses what it holds.
  """

  file: str
  kind: str
  write: Callable[[Folder], None]
  read: Callable[[Folder], Any]


def trial(reader: Reader, folder: Folder, content: bytes, data: bytes) -> None:
  """Reads a file that is wrong, as `data` decides.

  Raises:
    AssertionError: it is refused by more than one line.
    Exception: it is neither read nor refused.
  """
  path = folder / reader.file
  path.write_bytes(mutations.mutated(content, reader.kind, data))
  try:
    reader.read(folder)
  except (ValueError, OSError) as error:
    assert len(str(error).splitlines()) == 1, error


def _dump(folder, name, content):
  (folder / name).write_text(json.dumps(content))


def _fitted(name):
  content = {'policy': name, 'tokenizer': 'bytes', 'tokens': 2048}
  if name == 'entropy':
    return content | {'thresholds': [1.0, 2.0], 'windows': 9}
  S = learned.NUM_FEATURES
  choice = learned.Choice(
      np.array([0.0, 0.5]), np.zeros(S), np.ones(S), np.ones((S + 1, 2))
  )
  return content | {'mean_fraction': 0.25} | learned.to_json(choice)


def _run(name='learned'):
  config = base.get_config().to_dict()
  config['prefix'] |= {'name': name, 'fitted': _fitted(name)}
  return config


def _read_run(folder):
  config = recorded_config.read(folder / 'config.json')
  L = config['sequence_length']
  policies.of_prompt(np.arange(9), config['prefix'], L)
  policies.mean_prefix(config['prefix'], L)


def _read_policy(folder):
  fitted = fitting.read(str(folder / 'policy.json'))
  prefix = _run()['prefix'] | {'name': fitted['policy'], 'fitted': fitted}
  policies.of_prompt(np.arange(9), prefix, 2048)


def _write_manifest(folder):
  shard = manifests.Shard('a.bin', 'train', 4, 1, 'ab')
  manifests.write(
      folder,
      manifests.Manifest(
          tokenizer={'fingerprint': 'bytes', 'size': 257, 'eos_id': 256},
          dtype='uint16',
          settings=manifests.Settings(format='text'),
          inputs=[{'path': 'a.txt', 'bytes': 3}],
          shards=[shard, dataclasses.replace(shard, split='validation')],
          file=1,
      ),
  )
  (folder / 'a.bin').write_bytes(bytes(8))


def _read_shards(folder):
  data = base.get_config().data.to_dict()
  data |= {'path': str(folder), 'verify': False}
  shards.open_splits(data, tokenizers.Bytes())


def _write_text(folder):
  records = [{'text': 'a', 'id': 1}, {'text': 'b'}]
  (folder / 'a.jsonl').write_text('\n'.join(map(json.dumps, records)))


def _read_text(folder):
  with sources.open_text(str(folder / 'a.jsonl')) as (lines, _):
    for line in lines:
      sources.record(line, 'text', 'a.jsonl')


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


def _write_megatron(folder):
  header = struct.pack('<9sQBQQ', b'MMIDIDX', 1, 8, 2, 3)
  arrays = struct.pack('<2i2q3q', 2, 1, 0, 4, 0, 1, 2)
  (folder / 'a.idx').write_bytes(header + arrays)
  (folder / 'a.bin').write_bytes(bytes(6))


def _read_megatron(folder):
  file = megatron_file.MegatronFile(str(folder / 'a'))
  for i in range(file.num_documents()):
    file.tokens[: file.end(i)]


def _official():
  mixers = 'based.models.mixers'
  return {
      'n_layer': 3,
      'n_embd': 64,
      'n_head': 4,
      'vocab_size': 300,
      'layer_norm_epsilon': 1e-5,
      'mixer': {'_target_': f'{mixers}.convolution.BaseConv', 'kernel_size': 3},
      'alt_mixer': {
          '_target_': f'{mixers}.prefix_linear_attention.PrefixLinearAttention',
          'num_heads': 4,
          'feature_dim': 8,
          'enc_length': 32,
          'l_max': 64,
          'feature_map': {'input_dim': 8},
      },
      'alt_mixer_layers': [1],
      'alt_mixer_2': {'_target_': f'{mixers}.slide_attention.SlidingAttention'},
      'alt_mixer_2_layers': [2],
  }


def _read_official(folder):
  official = foreign.read_json(
      folder / 'config.json', config_from_official.SCHEMA
  )
  defaults = base.get_config().to_dict()
  config_from_official.from_official(official, defaults, mlp_width=64)


def _write_export(folder):
  run = _run()
  training = {key: run[key] for key in ('prefix', 'objective')}
  exported = {
      'model_type': 'jrt',
      'model': run['model'],
      'sequence_length': 2048,
      'training': training | {'tokenizer': 'bytes'},
  }
  _dump(folder, 'config.json', exported)


def _read_export(folder):
  hugging_face.read(folder, base.get_config().to_dict())


@functools.cache
def _model():
  config = base.get_config().to_dict()
  config['model'] |= {
      'mixers': ('conv', 'pla', 'attention'),
      'width': 8,
      'num_heads': 2,
      'mlp_width': 8,
      'vocab_size': 257,
      'vocab_multiple': 1,
      'dtype': 'float32',
  }
  config['sequence_length'] = 16
  params = models.split(models.build(config['model']))[1]
  return model_lib.Model(config, params, tokenizers.Bytes())


def _write_state(folder):
  rows = [[Piece(np.arange(n, dtype=np.int32), False)] for n in (3, 7)]
  state_file.save(folder / 'a.npz', _model(), reading.read(_model(), rows))


def _write_plays(folder):
  prompts = [np.arange(4), np.arange(9), np.arange(6)]
  table = plays.play(prompts, (0.0, 0.5, 1.0), lambda rows, M: rows + M)
  plays.save(folder / 'a.npz', table, 'bytes')


def _write_metrics(folder):
  _dump(folder, 'config.json', _run())
  lines = [{'step': i, 'loss': 2.0, 'step_seconds': 0.5} for i in (1, 2, 5)]
  lines.append({'step': 5, 'held_out/loss': 3.0, 'tokens': 999})
  (folder / 'metrics.jsonl').write_text(
      ''.join(json.dumps(line) + '\n' for line in lines)
  )


def _read_metrics(folder):
  runs = curves.read([str(folder)])
  curves.table([run.smoothed(0.1) for run in runs])


def _write_tokenizer(folder):
  tokenizer = hf.Tokenizer(hf.models.BPE())
  tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = hf.decoders.ByteLevel()
  trainer = hf.trainers.BpeTrainer(
      vocab_size=270,
      special_tokens=['<|endoftext|>'],
      initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
      show_progress=False,
  )
  tokenizer.train_from_iterator(['the cat sat on the mat'], trainer)
  tokenizer.save(str(folder / 'tokenizer.json'))


def _write_weights(folder):
  arrays = {'a': np.ones((2, 3), np.float32), 'b': np.zeros(4, np.float16)}
  weights.write_safetensors(folder / 'a.safetensors', arrays, {'x': 'y'})


def _write_logits(folder):
  logits = np.zeros((2, 3, 5), np.float32)
  np.savez(
      folder / 'a.npz',
      input_ids=np.arange(6).reshape(2, 3) % 5,
      logits_parallel=logits,
  )


def _write_checkpoint(folder):
  (folder / '7' / 'state').mkdir(parents=True)
  for name in ('a', 'b'):
    (folder / '7' / 'state' / name).write_text(name)
  intact.seal(folder / '7')


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
  whole = {'settings': settings, 'results': found, 'run': run}
  _dump(folder, 'result.json', whole)


def _read_recall(folder):
  figures = recall_results.measure({'file': folder / 'result.json'}, folder)
  results = {'result-0': exhibit.Done({}, figures)}
  recall_results.table(recall_results.gains(results, 'twice'), 'twice')
  versus.by_measure(results, versus.is_plain('default'))


READERS = {
    'run': Reader(
        'config.json',
        'json',
        lambda folder: _dump(folder, 'config.json', _run()),
        _read_run,
    ),
    'metrics': Reader('metrics.jsonl', 'jsonl', _write_metrics, _read_metrics),
    'manifest': Reader('manifest.json', 'json', _write_manifest, _read_shards),
    'text': Reader('a.jsonl', 'jsonl', _write_text, _read_text),
    'megatron': Reader('a.idx', 'bytes', _write_megatron, _read_megatron),
    'entropy': Reader(
        'policy.json',
        'json',
        lambda folder: _dump(folder, 'policy.json', _fitted('entropy')),
        _read_policy,
    ),
    'learned': Reader(
        'policy.json',
        'json',
        lambda folder: _dump(folder, 'policy.json', _fitted('learned')),
        _read_policy,
    ),
    'official': Reader(
        'config.json',
        'json',
        lambda folder: _dump(folder, 'config.json', _official()),
        _read_official,
    ),
    'export': Reader('config.json', 'json', _write_export, _read_export),
    'tokenizer': Reader(
        'tokenizer.json',
        'json',
        _write_tokenizer,
        lambda folder: tokenizers.load(str(folder / 'tokenizer.json')),
    ),
    'state': Reader(
        'a.npz',
        'npz',
        _write_state,
        lambda folder: state_file.load(folder / 'a.npz', _model()),
    ),
    'plays': Reader(
        'a.npz',
        'npz',
        _write_plays,
        lambda folder: plays.load(str(folder / 'a.npz')),
    ),
    'safetensors': Reader(
        'a.safetensors',
        'bytes',
        _write_weights,
        lambda folder: weights.read_safetensors(folder / 'a.safetensors'),
    ),
    'logits': Reader(
        'a.npz',
        'npz',
        _write_logits,
        lambda folder: agreement.read(folder / 'a.npz', 5),
    ),
    'recall': Reader('result.json', 'json', _write_recall, _read_recall),
    'answers': Reader('examples.jsonl', 'jsonl', _write_answers, _read_answers),
    'digests': Reader(
        '7/digests.json', 'json', _write_checkpoint, intact.newest
    ),
} | {
    f'rows_{name}': Reader(
        'a.jsonl',
        'jsonl',
        functools.partial(_write_rows, row=row),
        functools.partial(_read_rows, task=name.partition('-')[0]),
    )
    for name, row in _ROWS.items()
}
