"""A plan beside what the compiler says of the same step."""

import json
import pathlib
import subprocess
import sys

import jax
import pytest

from configs import jrt_360m
from jrt_jax import cost
from jrt_jax.cost import topology
from jrt_jax.planning import aot
from jrt_jax.planning import budget
from jrt_jax.planning import compiled_table
from jrt_jax.runtime import memory
from jrt_jax.runtime import sharding
from jrt_jax.training import abstract
from pallas_kernels import virtual_gpus

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]

GPUS = topology.parse('2x2xH100')


@pytest.fixture(scope='module')
def config():
  """Of a small model on two nodes, whose GPUs share weights and heads."""
  config = jrt_360m.get_config()
  config.update_from_flattened_dict(
      {
          'model.mixers': ('conv', 'pla', 'swa'),
          'model.width': 256,
          'model.num_heads': 4,
          'model.mlp_width': 256,
          'model.vocab_size': 1000,
          'model.mask_id': 999,
          'model.implementation': 'mosaic_sm90',
          'mesh.fsdp': 2,
          'mesh.tensor': 2,
          'batch_size': 8,
          'microbatch_per_device': 2,
          'sequence_length': 512,
      }
  )
  return config.to_dict()


@pytest.fixture(scope='module')
def plan(config):
  return budget.make(config, GPUS)


@pytest.fixture(scope='module')
def compiled(config):
  return aot.compile_step(config, GPUS)


@pytest.fixture(scope='module')
def found(compiled, config, plan):
  return aot.describe(compiled, config, GPUS, plan['mesh'])


def size(tree):
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def test_the_planned_bytes_of_weights_and_moments_are_those_of_the_program(
    config, plan, found
):
  mesh = sharding.make_mesh(config['mesh'], virtual_gpus.devices('H100', 4))
  steps, params = abstract.steps(config, mesh)
  assert sum(plan['parameters'].values()) == sum(
      x.size for x in params.values()
  )
  state = jax.tree.leaves(
      abstract.state(steps, params, mesh, cost.weights(config['model']))
  )
  rows = size(abstract.batch(config, mesh)) // 2  # of one half of the devices
  planned = plan['bytes_per_gpu']['weights'] + plan['bytes_per_gpu']['moments']
  counters = found['bytes']['state'] - planned - rows
  assert 0 < counters <= size([x for x in state if not x.ndim]) < 100


def test_a_plan_estimates_the_memory_that_the_compiler_finds():
  config = jrt_360m.get_config()
  config.model.mixers = ('conv', 'pla', 'swa')
  config.batch_size, config.microbatch_per_device = 32, 16
  config, gpus = config.to_dict(), topology.parse('1xH100')
  estimated = budget.make(config, gpus)['peak_bytes_per_gpu']
  compiled = aot.compile_step(budget.decided(config, gpus), gpus)
  # What jax 0.11.2 takes it meets within 3 %; jax 0.12 takes 8 % less.
  assert estimated == pytest.approx(memory.needed(compiled), rel=0.1)


def test_the_peak_is_the_one_that_training_would_see(compiled, found):
  assert found['bytes']['peak'] == memory.needed(compiled)
  assert found['bytes']['peak'] > found['bytes']['state']


def test_each_layer_has_its_kernels_in_each_microbatch(found, plan):
  kernels, microbatches = found['kernels'], plan['batch']['microbatches']
  assert microbatches == 2
  for name in ('forward', 'dq', 'dkv'):
    assert kernels[f'prefix_linear_attention_{name}'] == microbatches
  assert kernels['__cudnn$fmhaSoftmax'] == microbatches
  assert kernels['__cudnn$fmhaSoftmaxBackward'] == microbatches


def test_weights_and_activations_are_exchanged_where_they_are_shared(found):
  axes = {(*x['axes'],): x for x in found['exchanges'] if x['bytes'] > 2**16}
  assert {*axes} == {('fsdp',), ('tensor',)}
  assert (
      axes['fsdp',]['between_nodes']
      and axes['fsdp',]['grows_with'] == 'weights'
  )
  assert not axes['tensor',]['between_nodes']
  assert axes['tensor',]['grows_with'] == 'tokens'


def test_every_kind_of_work_has_its_bytes_and_its_time(found):
  traffic = found['traffic']
  assert {*traffic['kinds']} == {
      *('GEMM', 'fusions', 'loss', 'linear attention', 'attention (cuDNN)'),
      *('optimizer', 'collectives'),
  }
  assert 0 < traffic['mfu'] < 1
  sources = [x['source'] for x in traffic['most_moved']]
  assert len(sources) == 10 and any('jrt_jax/models/' in x for x in sources)


def test_it_is_shown_in_80_columns(found, plan):
  text = compiled_table.table(plan | {'compiled': found}, with_traffic=True)
  assert max(map(len, text.splitlines())) <= 80
  assert 'It fits into the 75 %' in text


def test_the_command_adds_what_the_compiler_says(tmp_path):
  file = tmp_path / 'plan.json'
  done = subprocess.run(
      [
          *(sys.executable, '-m', 'jrt_jax.plan', f'--out={file}'),
          *('--config=configs/jrt_tiny.py', '--topology=1xH200', '--traffic'),
          "--config.model.mixers=('conv',)",
          '--config.microbatch_per_device=4',
      ],
      cwd=pathlib.Path(__file__).parents[2],
      capture_output=True,
      text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr.startswith('compiling for 1 x H200 …\ncompiled in ')
  assert 'It fits into' in done.stdout and 'At most' in done.stdout
  plan = json.loads(file.read_text())
  none, *_ = plan['microbatches']
  assert none['microbatch'] == plan['batch']['sequences']
  assert none['bytes'] == plan['compiled']['bytes']['peak']
