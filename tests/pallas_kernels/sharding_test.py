import functools
import re

import jax
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np
import pytest

from pallas_kernels import prefix_linear_attention
from pallas_kernels import sharding
from pallas_kernels import testing

pytestmark = pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)


@pytest.fixture(scope='module')
def mesh():
  """Two axes for rows, one for heads."""
  axes = ('data', 'fsdp', 'tensor')
  return jax.make_mesh((2, 2, 2), axes, axis_types=(AxisType.Auto,) * 3)


def loss(inputs, **axes):
  """A number that depends on all outputs and states."""
  y, state = prefix_linear_attention(**inputs, return_state=True, **axes)
  return (y**2).sum() + state.kv.sum() + state.k.sum()


sharded_loss = functools.partial(
    loss, batch_axes=('data', 'fsdp'), head_axes=('tensor',)
)


def test_devices_compute_their_own_rows_and_heads_without_asking(mesh):
  inputs = testing.make_inputs(B=4, L=32, P=16, H=2, D=4, V=8)
  rest = {name: inputs.pop(name) for name in ('prefix_len', 'initial_state')}
  value_and_grad = lambda f: jax.jit(jax.value_and_grad(lambda x: f(x | rest)))
  expected = value_and_grad(loss)(inputs)
  with jax.set_mesh(mesh):
    where = NamedSharding(mesh, P(('data', 'fsdp'), None, 'tensor'))
    inputs = jax.device_put(inputs, where)
    step = value_and_grad(sharded_loss).lower(inputs).compile()
    actual = step(inputs)
  np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5)
  for name, gradient in expected[1].items():
    assert actual[1][name].sharding == where
    np.testing.assert_allclose(
        actual[1][name], gradient, atol=1e-4, err_msg=name
    )
  for exchange in ('all-gather', 'all-to-all', 'collective-permute'):
    assert exchange not in step.as_text()
  reduced = re.findall(r'= (\S+) all-reduce\(', step.as_text())
  assert all(shape.startswith('f32[]') for shape in reduced)  # of the loss


@pytest.mark.parametrize('B, H', [(3, 2), (4, 1), (1, 1)])
def test_rows_and_heads_that_do_not_divide_stay_whole(mesh, B, H):
  inputs = testing.make_inputs(B=B, L=8, P=4, H=H, D=4, V=4)
  expected = loss(inputs)
  with jax.set_mesh(mesh):
    actual = jax.jit(sharded_loss)(inputs)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_axes_that_are_mapped_already_are_left_out(mesh):
  inputs = testing.make_inputs(B=4, L=8, P=4, H=2, D=4, V=4)
  local = lambda inputs: jax.lax.psum(sharded_loss(inputs), 'data')
  by_data = jax.shard_map(
      local,
      in_specs=P('data'),
      out_specs=P(),
      axis_names={'data'},
      check_vma=False,
  )
  with jax.set_mesh(mesh):
    actual = jax.jit(by_data)(inputs)
  np.testing.assert_allclose(actual, loss(inputs), rtol=1e-5)


def test_without_a_mesh_there_are_no_axes():
  assert not sharding.free_axes()
  assert sharding.axes_that_divide(8, ('data',)) is None


def test_axes_of_one_device_are_left_out():
  mesh = jax.make_mesh(
      (2, 1), ('data', 'fsdp'), axis_types=(AxisType.Auto,) * 2
  )
  with jax.set_mesh(mesh):
    assert sharding.axes_that_divide(8, ('data', 'fsdp')) == ('data',)
    assert sharding.axes_that_divide(8, ('fsdp',)) is None
