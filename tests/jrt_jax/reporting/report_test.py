import re
import types

import jax
import numpy as np
import pytest

from configs import base
from configs import jrt_360m
from configs import jrt_tiny
from jrt_jax import cost
from jrt_jax.cost import estimate
from jrt_jax.data import tokenizers
from jrt_jax.reporting import report
from jrt_jax.reporting import tables
from jrt_jax.reporting import units


def make_plan(matmul_rate, dtype='bfloat16', sources=()):
  """The plan of the paper's run on two devices, {name: fact}."""
  device = types.SimpleNamespace(device_kind='NVIDIA H100')
  mesh = types.SimpleNamespace(
      devices=np.array([[[device]], [[device]]]),
      shape={'data': 2, 'fsdp': 1, 'tensor': 1},
  )
  text = report.plan(
      jrt_360m.get_config().to_dict(),
      mesh=mesh,
      accumulation=16,
      tokenizer=tokenizers.Bytes(),
      train_tokens=10**9,
      data_rate=2.5e6,
      mean_prefix=1024,
      has_masks=True,
      dtype=dtype,
      matmul_rate=matmul_rate,
      sources=sources,
  )
  assert max(map(len, text.splitlines())) <= tables.WIDTH
  whole = re.sub('\n +', ' ', text)  # facts that continue on the next line
  return dict(re.split('  +', line, maxsplit=1) for line in whole.splitlines())


@pytest.fixture(scope='module')
def plan():
  return make_plan(1e12)


def test_the_plan_of_the_paper_has_its_figures(plan):
  tokens = 60_000 * 256 * 2048
  assert plan['training'] == (
      '60,000 steps x 256 sequences x 2048 tokens = 31.5B tokens'
      f' ({tokens / 1e9:.3g} epochs)'
  )
  assert plan['parameters'].startswith('356,619,264 (embedding 51.5M, ')
  assert plan['devices'] == '2 x NVIDIA H100 (data 2, fsdp 1, tensor 1)'
  assert plan['microbatches'] == '16 in a step; sequences in each: 16'
  assert plan['prefix'] == 'fixed: 1,024 of 2,048 tokens on average'
  assert plan['data'] == (
      'python_stdlib: 1B tokens; the tokenizer has 257 ids, the model 50,264'
  )
  # Weights, two moments, gradients of the batch and of a microbatch, float32.
  assert plan['memory'].startswith(f'{20 * 356_619_264 / 2**30:.3g} GiB')
  assert f'jax {jax.__version__}' in plan['software']


def test_the_plan_has_the_share_and_the_epochs_of_each_part_of_a_mixture(plan):
  sources = [('web', 0.75, 10**10), ('code', 0.25, 10**9)]
  mixed = make_plan(1e12, sources=sources)
  tokens = 60_000 * 256 * 2048
  assert mixed['from web'] == (
      f'75.0% = {units.count(0.75 * tokens)} tokens,'
      f' {0.75 * tokens / 1e10:.3g} epochs of 10B'
  )
  assert mixed['from code'].startswith('25.0% = ')
  assert 'warning: code will be read more than 4 times' in mixed['repetition']
  assert 'epochs' not in mixed['training']
  assert 'repetition' not in plan
  rarely = make_plan(1e12, sources=[('web', 1.0, 10**10)])
  assert 'repetition' not in rarely


def test_the_plan_says_in_which_dtype_it_computes_if_not_as_configured(plan):
  assert 'dtype' not in plan
  on_cpu = make_plan(1e12, 'float32')
  assert on_cpu['dtype'].startswith('float32, as always on a CPU')
  assert 'bfloat16, for other devices' in on_cpu['dtype']
  assert on_cpu['expected time'].endswith('products of float32 matrices')


def test_the_plan_says_how_long_the_run_will_take(plan):
  rate = estimate.tokens_per_second(jrt_360m.get_config().to_dict(), 1e12)
  speed, took = units.count(rate), units.duration(60_000 * 256 * 2048 / rate)
  assert plan['expected time'].startswith(
      f'{took}, if training reaches {speed} tokens/s: '
  )


def test_the_plan_says_when_data_are_read_more_slowly_than_trained_on(plan):
  assert plan['data loading'] == '2.5M tokens/s'
  fast = make_plan(1e18)['data loading']
  assert fast == '2.5M tokens/s, too slow for training'


def test_the_plan_says_what_the_loss_is_made_of(plan):
  words = 'of next tokens + 0.25 x that of masked tokens, in nats per token'
  assert plan['loss'] == words
  objective = jrt_360m.get_config().objective.to_dict() | {'z_loss': 1e-4}
  words += '; each with 0.0001 x log²Z of its label'
  assert report._loss(objective, has_masks=True) == words


def test_a_run_that_takes_more_than_a_month_is_warned_of():
  config = jrt_360m.get_config().to_dict()
  a_month = estimate.tokens(config) / (30 * 86_400)  # tokens a second
  rate = a_month / estimate.tokens_per_second(config, 1.0)
  assert 'warning' not in make_plan(1.01 * rate)
  warning = make_plan(0.99 * rate)['warning']
  assert '--config.steps' in warning and 'configs/jrt_tiny.py' in warning


def test_the_plan_says_the_state_and_the_compute_of_a_token(plan):
  config = jrt_360m.get_config().model.to_dict()
  size, unit, _ = plan['decode state'].split(maxsplit=2)
  assert unit == 'MiB'
  assert float(size) == pytest.approx(
      cost.state_bytes(config, length=1) / 2**20, rel=0.005
  )
  gflop, unit = plan['compute'].split()[:2]
  assert unit == 'GFLOP'
  assert 6 * 0.3 < float(gflop) < 6 * 0.45  # 6 FLOP for most of the parameters


def test_the_full_model_on_the_built_in_text_is_called_a_demonstration():
  config, tokenizer = jrt_360m.get_config().to_dict(), tokenizers.Bytes()
  remark = report.demonstration(config, tokenizer)
  assert max(map(len, remark.splitlines())) <= tables.WIDTH
  assert 'demonstration' in remark
  keys = re.findall(r'--config\.([\w.]+)=', remark)
  assert keys == ['data.source', 'data.path', 'data.tokenizer']
  assert all(key in base.get_config().data for key in map(last_part, keys))


def last_part(key):
  return key.rpartition('.')[2]


def test_other_runs_are_no_demonstration():
  tokenizer = tokenizers.Bytes()
  tiny = jrt_tiny.get_config().to_dict()
  assert report.demonstration(tiny, tokenizer) is None
  config = jrt_360m.get_config()
  config.data.source = 'text'
  assert report.demonstration(config.to_dict(), tokenizer) is None


@pytest.mark.parametrize('sample', [None, ('def f(', 'x): pass')])
@pytest.mark.parametrize('speeds', [[], [900.0, 10.0, 1234.4]])
def test_the_result_holds_what_was_measured(speeds, sample, run_config):
  text = report.result(
      run_config(),
      held_out={'held-out text': '12,345 bytes'},
      tokens_per_second=speeds,
      goodput={'time': '3m20s'},
      sample=sample,
  )
  model = cost.parameters(run_config()['model'])
  facts = [
      'held-out text   12,345 bytes',
      '3m20s\n',
      '900 tokens/s\n' if speeds else '(no steps were left)',
      f'{sum(model.values()):,}\n',
      f'{cost.state_bytes(run_config()["model"], length=1):,} bytes per sequence',
  ]
  for fact in facts:
    assert fact in f'{text}\n'
  assert ('def f(▶x): pass' in text) == ('▶' in text) == bool(sample)


def test_a_decode_state_that_grows_is_told_at_the_sequence_length(run_config):
  text = report.result(
      run_config(model__mixers=('attention',)),
      held_out={},
      tokens_per_second=[],
      goodput={},
      sample=('', ''),
  )
  state = 16 * 2 * 8 * 4 + 4  # keys and values of each token, and the count
  assert f'{state:,} bytes per sequence, at 16 tokens' in text
