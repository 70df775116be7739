import jax
import jax.numpy as jnp
import pytest

from configs import jrt_tiny
from jrt_jax import cost
from jrt_jax import models
from jrt_jax.compiled import hlo
from jrt_jax.compiled import traffic
from jrt_jax.compiled import train_step
from jrt_jax.compiled.train_step import Rates
from jrt_jax.training import optimizer
from jrt_jax.training import train_state

B, L = 2, 128
RATES = Rates(flops=1e9, bandwidth=1e6)


@pytest.fixture(scope='module')
def program():
  """The step of a small model, as it is compiled for a CPU."""
  config = jrt_tiny.get_config()
  config.model.mixers = ('pla',)
  config.model.implementation = 'reference'
  model = config.model.to_dict()
  merge, params = models.abstract(model)
  weights = cost.weights(model)
  adamw = optimizer.build(config.optimizer.to_dict(), config.steps, weights)
  steps = train_state.Steps(merge, adamw, L // 2, 0.25, accumulation=2)
  state = jax.eval_shape(lambda x: train_state.init(x, adamw), params)
  tokens = jax.ShapeDtypeStruct((B, L), jnp.int32)
  batch = {
      'tokens': tokens,
      'targets': tokens,
      'supervision': tokens,
      'prefix_len': jax.ShapeDtypeStruct((B,), jnp.int32),
  }
  step = jax.jit(steps.train, donate_argnums=0)
  return hlo.parse(step.lower(state, batch).compile().as_text())


def analyse(program, **options):
  found = traffic.operations(program, **{'unknown_trips': 1} | options)
  return train_step.by_kind(program, found, RATES)


def test_every_kind_of_work_of_a_step_is_found(program):
  kinds = analyse(program)
  assert {*kinds} == {
      'linear attention',
      'loss',
      'optimizer',
      'GEMM',
      'fusions',
  }
  assert all(
      kind['bytes'] > 0 and kind['seconds'] > 0 for kind in kinds.values()
  )


def test_the_loss_takes_as_long_as_there_are_labels(program):
  few, many = analyse(program, unknown_trips=1), analyse(
      program, unknown_trips=2
  )
  assert many['loss']['flops'] == 2 * few['loss']['flops'] > 0
  assert many['GEMM'] == few['GEMM']


def test_the_optimizer_reads_and_writes_its_state(program):
  entry = program.computations[program.entry].instructions.values()
  parameters = [x for x in entry if x.opcode == 'parameter']
  state = sum(x.num_bytes for x in parameters if x.shapes[0].dtype == 'f32')
  assert analyse(program)['optimizer']['bytes'] > state


KERNELS = """FileNames
1 "/home/me/jrt_jax/jrt_jax/models/layers.py"
2 "/usr/lib/site-packages/flax/nnx/nn/linear.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=1 function_name_id=1 line=90 end_line=90 column=6 end_column=9}
2 {file_name_id=2 function_name_id=1 line=7 end_line=7 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}

%doubled (p: bf16[100,100]) -> bf16[100,100] {
  %p = bf16[100,100] parameter(0)
  ROOT %q = bf16[100,100] add(%p, %p)
}
ENTRY %main (p: bf16[100,100]) -> bf16[100,100] {
  %p = bf16[100,100] parameter(0)
  %a = bf16[100,100] custom-call(%p), custom_call_target="__cudnn$fmhaSoftmax"
  %b = bf16[100,100] dot(%a, %p), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %c = bf16[100,100] all-reduce(%b), to_apply=%add
  %d = bf16[100,100] fusion(%c), calls=%doubled, metadata={op_name="jit(f)/transpose(jvp())/mul" stack_frame_id=2}
  %e = bf16[100,100] fusion(%d), calls=%doubled, metadata={op_name="jit(f)/transpose(jvp())/mul" stack_frame_id=2}
  ROOT %wrapped_add.8 = bf16[100,100] fusion(%e), calls=%doubled
}
"""


def test_a_kernel_takes_as_long_as_its_products_or_its_bytes():
  kinds = analyse(hlo.parse(KERNELS))
  assert kinds['attention (cuDNN)']['seconds'] == pytest.approx(40e3 / 1e6)
  assert kinds['GEMM'] == {
      'bytes': 60_000,
      'flops': 2 * 100**3,
      'kernels': 1,
      'seconds': pytest.approx(60e3 / 1e6),
  }
  slow = Rates(flops=1e6, bandwidth=1e6)
  program = hlo.parse(KERNELS)
  found = traffic.operations(program, unknown_trips=1)
  products = train_step.by_kind(program, found, slow)['GEMM']
  assert products['seconds'] == pytest.approx(2 * 100**3 / 1e6)


def test_what_devices_exchange_is_not_part_of_the_time():
  kinds = analyse(hlo.parse(KERNELS))
  assert kinds['collectives']['bytes'] == 40_000
  others = [x['seconds'] for name, x in kinds.items() if name != 'collectives']
  assert train_step.seconds(kinds) == pytest.approx(sum(others))


def test_a_kernel_takes_at_least_its_launch():
  program = hlo.parse(KERNELS)
  found = traffic.operations(program, unknown_trips=1)
  fast = Rates(flops=1e30, bandwidth=1e30)
  kinds = train_step.by_kind(program, found, fast)
  assert kinds['fusions']['seconds'] == pytest.approx(3 * train_step.LAUNCH)


def test_what_moves_most_is_summed_up_by_line_of_the_project():
  program = hlo.parse(KERNELS)
  found = traffic.operations(program, unknown_trips=1)
  first, second = train_step.most_moved(program, found)
  assert first == {
      'source': 'jrt_jax/models/layers.py:90',
      'operation': 'mul (backward)',
      'kernels': 2,
      'read': 40_000,
      'written': 40_000,
  }
  assert (second['source'], second['operation']) == ('', 'wrapped_add')
