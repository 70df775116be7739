"""READERS of runs: how they trained, their weights, policies and states."""

import functools
import json

import numpy as np

from configs import base
from fuzz.reader import dump
from fuzz.reader import Reader
from jrt_jax import foreign
from jrt_jax import models
from jrt_jax import weights
from jrt_jax.data import tokenizers
from jrt_jax.generation import model as model_lib
from jrt_jax.generation import prefill
from jrt_jax.generation import state_file
from jrt_jax.generation.prompt_segments import Segment
from jrt_jax.interchange import agreement
from jrt_jax.interchange import config_from_official
from jrt_jax.interchange import hugging_face
from jrt_jax.interchange import mamba2
from jrt_jax.prefix import fitting
from jrt_jax.prefix import policies
from jrt_jax.prefix.learned import policy
from jrt_jax.prefix.learned import trials
from jrt_jax.reporting import curves
from jrt_jax.training import checkpoint_integrity
from jrt_jax.training import kernels
from jrt_jax.training import recorded_config
from jrt_jax.training import run_kernels


def _fitted(name):
  content = {'policy': name, 'tokenizer': 'bytes', 'tokens': 2048}
  if name == 'entropy':
    return content | {'thresholds': [1.0, 2.0], 'windows': 9}
  S = policy.NUM_FEATURES
  choice = policy.Choice(
      np.array([0.0, 0.5]), np.zeros(S), np.ones(S), np.ones((S + 1, 2))
  )
  return content | {'mean_fraction': 0.25} | policy.to_json(choice)


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


def _write_metrics(folder):
  dump(folder, 'config.json', _run())
  lines = [{'step': i, 'loss': 2.0, 'step_seconds': 0.5} for i in (1, 2, 5)]
  lines.append({'step': 5, 'held_out/loss': 3.0, 'tokens': 999})
  (folder / 'metrics.jsonl').write_text(
      ''.join(json.dumps(line) + '\n' for line in lines)
  )


def _read_metrics(folder):
  runs = curves.read([str(folder)])
  curves.table([run.smoothed(0.1) for run in runs])


def _write_prefix_trials(folder):
  prompts = [np.arange(4), np.arange(9), np.arange(6)]
  table = trials.collect(prompts, (0.0, 0.5, 1.0), lambda rows, M: rows + M)
  trials.save(folder / 'a.npz', table, 'bytes')


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


def _mamba2():
  return {
      'd_model': 64,
      'n_layer': 2,
      'vocab_size': 50257,
      'attn_layer_idx': [],
      'ssm_cfg': {'layer': 'Mamba2', 'd_state': 16},
  }


def _read_mamba2(folder):
  found = foreign.read_json(folder / 'config.json', foreign.OBJECT)
  defaults = base.get_config().to_dict()['model']
  mamba2.model_config(found, f'{folder}/config.json:', defaults)


def _write_export(folder):
  run = _run()
  training = {key: run[key] for key in ('prefix', 'objective')}
  exported = {
      'model_type': 'jrt',
      'model': run['model'],
      'sequence_length': 2048,
      'training': training | {'tokenizer': 'bytes'},
  }
  dump(folder, 'config.json', exported)


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
  rows = [[Segment(np.arange(n, dtype=np.int32), False)] for n in (3, 7)]
  state_file.save(folder / 'a.npz', _model(), prefill.prefill(_model(), rows))


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
  checkpoint_integrity.seal(folder / '7')


def _write_kernels(folder):
  run_kernels.record(folder, kernels.Choice('chunked', 'the process crashed'))


READERS = {
    'kernels': Reader(
        'kernels.json',
        'json',
        _write_kernels,
        lambda folder: str(run_kernels.read(folder)),
    ),
    'run': Reader(
        'config.json',
        'json',
        lambda folder: dump(folder, 'config.json', _run()),
        _read_run,
    ),
    'metrics': Reader('metrics.jsonl', 'jsonl', _write_metrics, _read_metrics),
    'entropy': Reader(
        'policy.json',
        'json',
        lambda folder: dump(folder, 'policy.json', _fitted('entropy')),
        _read_policy,
    ),
    'learned': Reader(
        'policy.json',
        'json',
        lambda folder: dump(folder, 'policy.json', _fitted('learned')),
        _read_policy,
    ),
    'prefix_trials': Reader(
        'a.npz',
        'npz',
        _write_prefix_trials,
        lambda folder: trials.load(str(folder / 'a.npz')),
    ),
    'official': Reader(
        'config.json',
        'json',
        lambda folder: dump(folder, 'config.json', _official()),
        _read_official,
    ),
    'mamba2': Reader(
        'config.json',
        'json',
        lambda folder: dump(folder, 'config.json', _mamba2()),
        _read_mamba2,
    ),
    'export': Reader('config.json', 'json', _write_export, _read_export),
    'state': Reader(
        'a.npz',
        'npz',
        _write_state,
        lambda folder: state_file.load(folder / 'a.npz', _model()),
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
    'digests': Reader(
        '7/digests.json', 'json', _write_checkpoint, checkpoint_integrity.newest
    ),
}
