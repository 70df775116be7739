"""Table 5: the time to read a prompt, for several operations."""

import functools
import os
import time

import jax
import numpy as np

from configs import jrt_360m
from jrt_jax.evaluation import statistics
from jrt_jax.models import blocked_attention
from jrt_jax.models import context
from jrt_jax.models.prefix_linear_attention import IMPLEMENTATIONS
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import paper
from jrt_jax.training import kernels
import pallas_kernels
from pallas_kernels import testing

_SIZES = {
    'cpu': dict(
        lengths=(512, 1024, 2048, 4096, 8192),
        shape=dict(B=1, H=2, D=16, V=64, dtype='float32'),
        rounds=12,
    ),
    'gpu': dict(
        lengths=(2048, 4096, 8192, 16384, 32768),
        shape=dict(B=16, H=16, D=16, V=64, dtype='bfloat16'),
        rounds=20,
    ),
}
_NAMES = {
    'attention': 'softmax attention',
    'based': 'causal linear attention',
    'jrt_prompt': 'the same, over the prompt twice',
    'jrt_rnn': 'prefix linear attention',
}
# The ratios, with the paper's values at 32k tokens.
_RATIOS = {
    'attention / prefix linear attention': ('attention', 'jrt_rnn'),
    'attention / linear attention, twice': ('attention', 'jrt_prompt'),
    'linear attention, twice / once': ('jrt_prompt', 'based'),
    'prefix linear attention / linear attention': ('jrt_rnn', 'based'),
}


def _plan(request, results):
  del results
  size = _SIZES[request.scale]
  options = {}
  if request.scale == 'gpu':  # before the device is opened
    model = kernels.decided(jrt_360m.get_config().model)  # of these heads
    options['implementation'] = model['implementation']
  platform = jax.default_backend()
  if platform != request.scale:
    raise ValueError(
        f'--scale must be that of the device for prefill_latency, got'
        f' {request.scale!r} on a {platform}'
    )
  settings = {
      'shape': size['shape'],
      'rounds': size['rounds'],
      'device': jax.devices()[0].device_kind,
      'cores': os.cpu_count(),
      **options,
  }
  return [
      exhibit.Job(f'{platform}-{N}', {'length': N, **settings})
      for N in size['lengths']
  ]


def _measure(settings, workdir):
  """Milliseconds by round; in each round, all operations run in turn."""
  del workdir
  options = {k: x for k, x in settings.items() if k == 'implementation'}
  calls = {
      name: make(settings['length'], settings['shape'], **options)
      for name, make in _OPERATIONS.items()
  }
  ms = {name: [] for name in calls}
  for call in calls.values():
    jax.block_until_ready(call())  # compiles
  for _ in range(settings['rounds']):
    for name, call in calls.items():
      start = time.perf_counter()
      jax.block_until_ready(call())
      ms[name].append(1e3 * (time.perf_counter() - start))
  return {'ms': ms}


def _linear(length, shape, prefix=0, implementation='auto'):
  arrays = testing.make_inputs(L=length, P=prefix, **shape)
  del arrays['initial_state']
  arrays['prefix_len'] = np.full(shape['B'], prefix, np.int32)
  arrays = jax.device_put(arrays)
  names = IMPLEMENTATIONS.get(implementation, implementation)
  operation = functools.partial(
      pallas_kernels.prefix_linear_attention, implementation=names
  )
  run = jax.jit(lambda x: operation(**x))
  return lambda: run(arrays)


def _attention(length, shape, **_):
  """Softmax attention; its queries and keys are as wide as its values."""
  size = shape['B'], length, shape['H'], shape['V']
  keys = jax.random.split(jax.random.key(0), 3)
  arrays = [jax.random.normal(key, size, shape['dtype']) for key in keys]
  if jax.default_backend() == 'gpu':
    attend = lambda q, k, v: jax.nn.dot_product_attention(
        q, k, v, is_causal=True, implementation='cudnn'
    )
  else:
    where = context.Context(shape['B'], length)
    attend = lambda q, k, v: blocked_attention.causal_attention(q, k, v, where)
  run = jax.jit(attend)
  return lambda: run(*arrays)


_OPERATIONS = {
    'attention': _attention,
    'based': _linear,
    'jrt_prompt': lambda length, shape, **options: _linear(
        2 * length, shape, **options
    ),
    'jrt_rnn': lambda length, shape, **options: _linear(
        length, shape, length // 2, **options
    ),
}


def _ratio(done, over, under):
  ms = done.figures['ms']
  return statistics.mean(np.divide(ms[over], ms[under]))


def _published(length, over, under):
  table = paper.TABLE_5
  if length not in table[over]:
    return None
  return table[over][length] / table[under][length]


def _by_length(results):
  return {done.settings['length']: done for done in results.values()}


def _show(results):
  done = _by_length(results)
  yield exhibit.Lines(
      {
          words: [
              (N, statistics.mean(x.figures['ms'][name]))
              for N, x in done.items()
          ]
          for name, words in _NAMES.items()
      },
      x='tokens of the prompt',
      y='ms',
      caption='Time of one operation, half of the prompt prefix',
      log_x=True,
      log_y=True,
  )
  rows, longest = {}, max(done)
  for name, (over, under) in _RATIOS.items():
    rows[name] = [
        _published(32768, over, under),
        _published(longest, over, under),
        _ratio(done[longest], over, under),
    ]
  columns = (
      'published, 32,768',
      f'published, {longest:,}',
      f'measured, {longest:,}',
  )
  if longest == 32768:
    columns, rows = columns[1:], {k: x[1:] for k, x in rows.items()}
  yield exhibit.Table(
      columns,
      rows,
      caption='Ratios of times, by tokens of the prompt',
      drawn=columns[-2:],
      unit='ratio of times',
      marks={'equal': 1},
      is_log=True,
      digits=2,
  )


def _verdict(results):
  done = _by_length(results)
  short, long = min(done), max(done)
  at = lambda N, name: _ratio(done[N], *_RATIOS[name])
  first, _, twice, prefix = _RATIOS
  attention, before = at(long, first), at(short, first)
  wins = attention.low > 1 and attention.low > before.high
  cheaper = at(long, prefix).high < at(long, twice).low
  words = (
      f'At {long:,} tokens attention takes {exhibit.text(attention)} times as long as'
      f' prefix linear attention (at {short:,}: {exhibit.text(before)}). Compared'
      ' with causal linear attention, reading a prompt twice takes'
      f' {exhibit.text(at(long, twice), 2)} times as long, and a prefix of half the'
      f' prompt {exhibit.text(at(long, prefix), 2)} times.'
  )
  word = {2: 'holds', 1: 'partly', 0: 'fails'}[wins + cheaper]
  return exhibit.Verdict(word, words)


EXHIBIT = exhibit.Exhibit(
    title='Prefill: the time it takes to read a prompt',
    source='Arora et al. 2024, Table 5',
    claim=(
        'On an H100 at 32,768 tokens, prefix linear attention reads a prompt'
        ' 19.2 times as fast as FlashAttention-2, and takes 1.24 times as long'
        ' as causal linear attention; reading twice takes 2 times as long.'
    ),
    plan=_plan,
    measure=_measure,
    show=lambda results: [*_show(results)],
    verdict=_verdict,
    at_paper_scale=lambda: exhibit.AtPaperScale(
        ['python -m jrt_jax.reproduce prefill_latency --scale=gpu'],
        0.1,
        'One H100; the same operations in bfloat16, 16 prompts of 16 heads.',
    ),
)
