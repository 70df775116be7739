import json

import jax
import pytest

from configs import jrt_360m
from configs import jrt_tiny
from jrt_jax import cost
from jrt_jax import models
from jrt_jax.cost import estimate
from jrt_jax.cost import layout
from jrt_jax.cost import topology
from jrt_jax.cost import training_memory
from jrt_jax.cost.optimizers import OPTIMIZERS
from jrt_jax.planning import budget
from jrt_jax.training import optimizer
from jrt_jax.training import train_state


def make(gpus='8xH100', mfu=None, price=None, **changes):
  config = jrt_360m.get_config()
  config.update_from_flattened_dict(changes)
  return budget.make(
      config.to_dict(), topology.parse(gpus), mfu=mfu, price=price
  )


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_bytes_are_those_of_the_train_state_that_is_made(name):
  config = jrt_tiny.get_config()
  config.optimizer.name = name
  config = config.to_dict()
  weights = cost.weights(config['model'])
  tx = optimizer.build(config['optimizer'], config['steps'], weights)
  params = models.abstract(config['model'])[1]
  state = jax.eval_shape(lambda x: train_state.init(x, tx), params)

  def size(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))

  alone = dict.fromkeys(layout.AXES, 1)
  found = training_memory.state_bytes(config, alone, accumulation=1)
  assert found['weights'] == found['gradients'] == size(state.params)
  is_counter = lambda x: x.size <= 3  # or the coefficients of Muon
  counters = size(
      [x for x in jax.tree.leaves(state.opt_state) if is_counter(x)]
  )
  assert found['moments'] == size(state.opt_state) - counters
  assert counters < 100


def test_gradients_of_a_microbatch_come_beside_their_sum():
  for microbatch, copies in ((32, 1), (8, 2)):
    found = make(microbatch_per_device=microbatch)['bytes']
    assert found['gradients'] == copies * found['weights'] > 10**9


def test_what_a_model_costs_is_what_training_counts():
  config, found = jrt_360m.get_config().to_dict(), make()
  assert found['parameters'] == cost.parameters(config['model'])
  flops = sum(found['flops_per_token'].values())
  assert flops == estimate.flops_per_token(config)
  for length, size in found['decode_state_bytes']['model'].items():
    assert size == cost.state_bytes(config['model'], length=length)


def test_a_cache_of_attention_grows_and_the_state_does_not():
  own, attention = make()['decode_state_bytes'].values()
  assert len({*own.values()}) == 1
  a_token = 26 * 2 * 2 * 1024  # bfloat16 keys and values of 26 layers
  for length, size in attention.items():
    assert size == length * a_token + 26 * 4


def test_sharing_weights_leaves_each_gpu_a_part_and_costs_no_time():
  alone, shared = make(), make(**{'mesh.fsdp': 8})
  assert shared['bytes'] == alone['bytes'] == alone['bytes_per_gpu']
  part = shared['bytes_per_gpu']['weights'] / shared['bytes']['weights']
  assert part == pytest.approx(1 / 8, rel=0.01)
  assert shared['run'] == alone['run']


def test_time_and_cost_follow_from_the_flops():
  run = make(mfu=0.5, price=2.0)['run']
  flops = estimate.flops_per_token(jrt_360m.get_config().to_dict())
  assert run['tokens'] == 60_000 * 256 * 2048
  assert run['tokens_per_second'] == pytest.approx(0.5 * 8 * 989e12 / flops)
  assert run['gpu_hours'] == pytest.approx(8 * run['seconds'] / 3600)
  assert run['dollars'] == pytest.approx(2 * run['gpu_hours'])
  assert not run['mfu_is_predicted']


def test_without_a_utilization_it_is_predicted():
  run = make()['run']
  assert run['mfu_is_predicted'] and run['mfu'] == budget.PREDICTED_MFU
  assert run['dollars'] is None


def test_a_compiled_step_predicts_its_own_utilization():
  run = budget.run(
      jrt_360m.get_config().to_dict(),
      topology.parse('8xH100'),
      mfu=None,
      price=None,
      mfu_at_most=0.5,
  )
  assert run['mfu_is_predicted']
  assert run['mfu'] == budget.ALLOWANCE * 0.5 < 0.5


@pytest.mark.parametrize(
    'gpus, changes, decided, expected',
    [
        ('8xH100', {}, 'mosaic_sm90_or_chunked', 'mosaic_sm90'),
        (
            '8xH100',
            {'data.packing': 'documents'},
            'mosaic_sm90_or_chunked',
            'mosaic_sm90',
        ),
        (
            '8xH100',
            {'model.implementation': 'mosaic_sm90'},
            'mosaic_sm90',
            'mosaic_sm90',
        ),
        ('8xH100', {'model.dtype': 'float32'}, 'chunked', 'chunked'),
        ('8xA100', {}, 'chunked', 'chunked'),
        ('8xH100', {'model.mixers': ('attention',)}, 'chunked', None),
    ],
)
def test_a_plan_compiles_what_the_run_would_be_given(
    gpus, changes, decided, expected
):
  config = jrt_360m.get_config()
  config.update_from_flattened_dict(changes)
  found = budget.decided(config.to_dict(), topology.parse(gpus))
  assert found['model']['implementation'] == decided
  assert make(gpus, **changes)['implementation'] == expected


def test_nodes_share_the_work():
  one, two = make('8xH200')['run'], make('2x8xH200')['run']
  assert two['seconds'] == pytest.approx(one['seconds'] / 2)
  assert two['gpu_hours'] == pytest.approx(one['gpu_hours'])


def test_a_budget_is_json():
  assert json.loads(json.dumps(make(), allow_nan=False))


@pytest.mark.parametrize(
    'gpus, changes, message',
    [
        ('3xH100', {}, r'config\.batch_size must be a multiple of 24'),
        ('8xH100', {'mesh.data': 2}, 'must use all 8 GPUs .* got 2: leave'),
        ('8xH100', {'mesh.tensor': 3}, 'tensor = 3 must divide .* 8'),
        (
            '5xH100',
            {'mesh.fsdp': 5, 'batch_size': 40},
            r'fsdp must divide 1024',
        ),
        ('8xH100', {'objective.name': 'next_token'}, r'needs config\.prefix'),
        *(
            (
                '8xA100',
                {'model.implementation': name},
                f"implementation must be auto, .* on A100, .* got '{name}'",
            )
            for name in ('mosaic_sm90', 'mosaic_sm90_or_chunked')
        ),
    ],
)
def test_an_impossible_run_is_refused_in_one_line(gpus, changes, message):
  with pytest.raises(ValueError, match=message) as error:
    make(gpus, **changes)
  assert '\n' not in str(error.value)


def test_a_learned_prefix_needs_its_file():
  with pytest.raises(FileNotFoundError, match=r'config\.prefix\.file must be'):
    make(**{'prefix.name': 'learned'})


def test_memory_is_that_of_what_will_compute_linear_attention():
  default, chunked, kernels = (
      make(**{'model.implementation': name})['working_bytes_per_gpu']
      for name in ('auto', 'chunked', 'mosaic_sm90')
  )
  assert default == kernels  # on a Hopper GPU
  assert chunked['activations'] > kernels['activations']
