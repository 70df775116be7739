import itertools

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import numpy as np
import pytest

from jrt_jax import cost
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.cost.weight import HEAD_AXES
from jrt_jax.cost.weight import OUT
from jrt_jax.cost.weight import Weight
from jrt_jax.runtime import sharding

pytestmark = pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)


def make_mesh(data=-1, fsdp=1, sequence=1, tensor=1, devices=None):
  config = dict(data=data, fsdp=fsdp, sequence=sequence, tensor=tensor)
  return sharding.make_mesh(config, devices)


def test_by_default_every_device_is_a_replica():
  mesh = make_mesh(devices=jax.devices()[:8])
  assert mesh.devices.shape == (8, 1, 1, 1)
  assert set(mesh.axis_types) == {AxisType.Auto}


def test_data_takes_the_devices_that_other_axes_leave():
  mesh = make_mesh(fsdp=2, sequence=2, devices=jax.devices()[:8])
  assert dict(mesh.shape) == {'data': 2, 'fsdp': 2, 'sequence': 2, 'tensor': 1}


def test_a_config_without_a_key_has_one_device_along_that_axis():
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  assert dict(mesh.shape) == {'data': 2, 'fsdp': 2, 'sequence': 1, 'tensor': 2}


def test_a_smaller_mesh_uses_the_first_devices():
  mesh = make_mesh(data=2)
  assert mesh.devices.flatten().tolist() == jax.devices()[:2]


@pytest.mark.parametrize(
    'sizes, message',
    [
        (dict(data=9), 'at most 8 devices, got 9 x 1 x 1 x 1 = 9$'),
        (dict(tensor=3), r'config\.mesh\.tensor = 3 must divide .* 8$'),
    ],
)
def test_an_impossible_mesh_is_refused_in_one_line(sizes, message):
  with pytest.raises(ValueError, match=message):
    make_mesh(**sizes, devices=jax.devices()[:8])


def test_several_processes_must_use_all_their_devices(monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  with pytest.raises(ValueError, match='must use all 8 devices of 2 proc'):
    make_mesh(data=4, devices=jax.devices()[:8])


def test_a_batch_is_divided_over_the_replicas_in_order():
  mesh = make_mesh(data=4, fsdp=2)
  batch = {
      'tokens': np.arange(48, dtype=np.int32).reshape(16, 3),
      'prefix_len': np.arange(16, dtype=np.int32),
  }
  for put, (name, array) in itertools.product(
      (sharding.put_batch, sharding.put_whole_batch), batch.items()
  ):
    actual = put(batch, mesh)
    assert actual[name].sharding == sharding.batch_sharding(mesh, array.ndim)
    np.testing.assert_array_equal(actual[name], array)
    for i, shard in enumerate(actual[name].addressable_shards):
      np.testing.assert_array_equal(shard.data, array[2 * i : 2 * i + 2])


@pytest.mark.parametrize(
    'count, sequence, tensor, expected',
    [
        (8, 1, 2, (4, 1, 1, 2)),
        (8, 4, 2, (1, 1, 4, 2)),
        (8, 2, 2, (2, 1, 2, 2)),
        (6, 3, 4, (2, 1, 3, 1)),  # where heads cannot be divided
    ],
)
def test_devices_that_serve_share_positions_heads_and_rows(
    count, sequence, tensor, expected
):
  mesh = sharding.serving_mesh(
      {'tensor': tensor}, jax.devices()[:count], sequence=sequence
  )
  assert mesh.devices.shape == expected


def test_as_many_cpu_devices_serve_as_share_the_positions():
  assert sharding.serving_mesh({'tensor': 1}) is None
  mesh = sharding.serving_mesh({'tensor': 1}, sequence=4)
  assert mesh.devices.shape == (1, 1, 4, 1)


@pytest.mark.parametrize(
    'sequence, message',
    [
        (0, '^mesh_sequence must be positive, got 0$'),
        (3, '^mesh_sequence must divide .* 8, got 3 .JAX_NUM_CPU_DEVICES=3'),
    ],
)
def test_positions_must_be_shared_by_a_part_of_the_devices(sequence, message):
  with pytest.raises(ValueError, match=message):
    sharding.serving_mesh({'tensor': 1}, jax.devices()[:8], sequence=sequence)


def test_rows_are_divided_over_devices_in_the_order_of_positions():
  mesh = make_mesh(data=2, sequence=2)
  batch = {
      'tokens': np.arange(24, dtype=np.int32).reshape(4, 6),
      'prefix_len': np.arange(4, dtype=np.int32),
  }
  actual = sharding.put_batch(batch, mesh)
  shards = [[x.data for x in a.addressable_shards] for a in actual.values()]
  for i, (tokens, lengths) in enumerate(zip(*shards)):
    row, position = divmod(i, 2)
    own = slice(2 * row, 2 * row + 2)
    part = batch['tokens'][own, 3 * position : 3 * position + 3]
    np.testing.assert_array_equal(tokens, part)
    np.testing.assert_array_equal(lengths, batch['prefix_len'][own])


def test_moments_lie_where_their_parameter_lies_and_the_rest_is_everywhere():
  mesh = make_mesh(data=2, fsdp=2, tensor=2)
  params = {'kernel': 0, 'scale': 0}
  weights = {'kernel': Weight((8, 8), OUT), 'scale': Weight((8,))}
  state = {'params': params, 'opt_state': ({'mu': dict(params)}, 0)}
  shardings = sharding.params_sharding(mesh, state, weights)
  specs = jax.tree.map(lambda leaf: leaf.spec, shardings)
  kernel, scale = specs['params'].values()
  assert (kernel, scale) == (P('tensor', 'fsdp'), P())
  assert specs['opt_state'] == ({'mu': specs['params']}, P())
  assert {leaf.mesh for leaf in jax.tree.leaves(shardings)} == {mesh}


def test_what_feature_maps_have_for_each_head_lies_with_the_heads(tiny_config):
  feature_map = {
      'name': 'hybrid_heads',
      'feature_dim': 4,
      'num_features': 6,
      'parts': ('mlp', 'gaussian_rff'),
      'separate_encoder': True,
  }
  config = tiny_config(mixers=('pla',), num_heads=4, feature_map=feature_map)
  weights = cost.weights(config)
  of_heads = [x for name, x in weights.items() if '.groups.' in name]
  assert len(of_heads) == 4 + 4 + 2  # two MLPs; a projection and a gain
  for x in of_heads:
    assert x.axes == HEAD_AXES and x.shape[0] == 2


def test_all_but_norms_biases_of_outputs_and_what_heads_share_are_divided(
    tiny_config,
):
  weights = cost.weights(tiny_config(mixers=tuple(MIXERS)))
  whole = {name for name, x in weights.items() if not any(x.axes)}
  ends = (
      'scale',
      'mixer.gain',
      'out_proj.bias',
      'conv_bc.kernel',
      'conv_bc.bias',
      'conv_b_enc.kernel',
      'conv_b_enc.bias',
  )
  assert all(name.endswith(ends) for name in whole)
  for name in set(weights) - whole:
    assert len(weights[name].shape) == len(weights[name].axes), name


def test_one_process_reads_whole_batches():
  assert sharding.share_of_batch(make_mesh(data=4, tensor=2)) == (0, 1)


def of_process(monkeypatch, devices):
  """Pretends that this process has these devices, by their numbers, only."""
  own = {jax.devices()[i] for i in devices}
  monkeypatch.setattr(
      NamedSharding,
      'addressable_devices_indices_map',
      lambda self, shape: {
          device: index
          for device, index in self.devices_indices_map(shape).items()
          if device in own
      },
  )


@pytest.mark.parametrize(
    'devices, sizes, expected',
    [
        ([2], dict(), (2, 8)),
        ([2, 3], dict(), (1, 4)),
        ([2, 3], dict(fsdp=4, tensor=2), (1, 4)),
        ([3], dict(fsdp=4, tensor=2), (1, 4)),  # with device 2
        ([4], dict(tensor=8), (0, 1)),
        ([5], dict(data=2, sequence=4), (1, 2)),
        ([2, 3], dict(data=2, sequence=2, tensor=2), (0, 2)),
    ],
)
def test_a_process_reads_the_rows_of_its_devices(
    monkeypatch, devices, sizes, expected
):
  mesh = make_mesh(**sizes, devices=jax.devices()[:8])
  of_process(monkeypatch, devices)
  assert sharding.share_of_batch(mesh) == expected


@pytest.mark.parametrize('devices', [[0, 5], [1, 2]])
def test_rows_that_are_no_neighbours_are_refused(monkeypatch, devices):
  mesh = make_mesh(devices=jax.devices()[:8])
  of_process(monkeypatch, devices)
  with pytest.raises(ValueError, match='adjacent rows of a batch, got'):
    sharding.share_of_batch(mesh)
