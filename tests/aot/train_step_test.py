"""Training steps of the paper's models, compiled for eight virtual H100s."""

import collections
import functools
import importlib
import itertools
import re
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from jrt_jax import cost
from jrt_jax.compiled import hlo
from jrt_jax.compiled import traffic
from jrt_jax.compiled import train_step
from jrt_jax.cost import layout
from jrt_jax.cost import topology
from jrt_jax.planning import aot
from jrt_jax.planning import budget
from jrt_jax.runtime import memory
from jrt_jax.runtime import sharding
from jrt_jax.training import abstract
from jrt_jax.training import loss
from pallas_kernels import virtual_gpus
from ptx import kernels

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]

MEMORY = 0.9 * 80e9  # bytes of an H100, less what CUDA, cuDNN and NCCL take
MICROBATCH = 8  # sequences that a GPU takes at once, without remat
SEQUENCES = 32  # of a GPU in a step: the paper's batch of 256 on eight
FIRST_LAYERS = 'conv', 'pla', 'swa'  # of 360M: one of each kind


class Case(NamedTuple):
  """A model on a mesh."""

  config: str
  mesh: tuple[int, int, int, int]  # data, fsdp, sequence, tensor
  mixers: tuple[str, ...] | None = None  # None: those of its config
  residual_dtype: str = 'float32'


DATA = Case('jrt_360m', (8, 1, 1, 1))
NARROW = Case('jrt_360m', (8, 1, 1, 1), FIRST_LAYERS, 'bfloat16')
TENSOR = Case('jrt_360m', (1, 4, 1, 2), FIRST_LAYERS)
SLOW = (
    Case('jrt_360m', (1, 8, 1, 1), FIRST_LAYERS),
    Case('jrt_1b', (8, 1, 1, 1)),
    Case('jrt_1b', (1, 8, 1, 1)),
)


def cases(*fast):
  return pytest.mark.parametrize(
      'case',
      [*fast, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)],
      ids=lambda case: f'{case.config} on {case.mesh}',
  )


class Step(NamedTuple):
  """A compiled step and what it was compiled of."""

  program: kernels.Program
  hlo: str
  mixers: tuple[str, ...]
  params: dict[str, jax.ShapeDtypeStruct]
  config: dict[str, Any]


@functools.cache
def compile_step(case):
  config = importlib.import_module(f'configs.{case.config}').get_config()
  config.model.implementation = 'mosaic_sm90_or_chunked'  # as auto becomes
  config.model.remat = 'none'
  config.model.residual_dtype = case.residual_dtype
  config.microbatch_per_device = MICROBATCH
  config.model.mixers = case.mixers or config.model.mixers
  mesh = sharding.make_mesh(
      dict(zip(layout.AXES, case.mesh)), virtual_gpus.devices('H100', 8)
  )
  config.batch_size = SEQUENCES * layout.num_replicas(mesh.shape)
  config = config.to_dict()
  steps, params = abstract.steps(config, mesh)
  state = abstract.state(steps, params, mesh, cost.weights(config['model']))
  with jax.set_mesh(mesh):
    program = kernels.compile_for(
        'H100', steps.jitted(state), state, abstract.batch(config, mesh)
    )
  hlo = program.compiled.as_text()
  return Step(program, hlo, config['model']['mixers'], params, config)


def instructions(hlo, opcode):
  """(shapes of the results, the line) of each instruction of a kind."""
  pattern = rf'\s+(?:ROOT )?\S+ = (.*?) {opcode}(-start)?\('
  found = []
  for line in hlo.splitlines():
    if match := re.match(pattern, line):
      shapes = shapes_in(match[1])
      if match[2]:  # (operands, results)
        shapes = shapes[len(shapes) // 2 :]
      found.append((shapes, line))
  return found


def shapes_in(text):
  shapes = re.findall(r'\w+\[([\d,]*)\]', text)
  return [tuple(map(int, filter(None, shape.split(',')))) for shape in shapes]


def results(hlo, opcode):
  """The shapes of all results of a kind of instruction."""
  return [x for shapes, _ in instructions(hlo, opcode) for x in shapes]


def custom_calls(hlo, target):
  return [
      (shapes, line)
      for shapes, line in instructions(hlo, 'custom-call')
      if f'custom_call_target="{target}"' in line
  ]


@cases(DATA)
def test_the_batch_of_the_paper_fits_in_memory(case):
  assert memory.needed(compile_step(case).program.compiled) < MEMORY


@pytest.mark.parametrize(
    'case', [DATA, pytest.param(SLOW[1], marks=pytest.mark.slow)]
)
def test_a_plan_estimates_what_it_takes_where_weights_are_not_shared(case):
  step = compile_step(case)
  plan = budget.make(step.config, topology.parse('8xH100'))
  estimated = plan['peak_bytes_per_gpu']
  assert estimated == pytest.approx(
      memory.needed(step.program.compiled), rel=0.05
  )


def test_the_predicted_utilization_is_that_of_the_compiled_step():
  step = compile_step(DATA)
  gpus = topology.parse('8xH100')
  mesh = dict(zip(layout.AXES, DATA.mesh))
  said = aot.describe(step.program.compiled, step.config, gpus, mesh)
  at_most = said['traffic']['mfu']
  assert budget.MFU_AT_MOST == pytest.approx(at_most, rel=0.01)


@cases(DATA, TENSOR)
def test_each_layer_launches_its_kernels_once_on_its_own_rows_and_heads(case):
  step = compile_step(case)
  layers, heads = step.mixers.count('pla'), 16 // case.mesh[-1]
  calls = custom_calls(step.hlo, 'mosaic_gpu_v2')
  launches = collections.Counter(
      re.search(r'prefix_linear_attention_(\w+)/', line)[1] for _, line in calls
  )
  y = {shapes[0] for shapes, line in calls if 'attention_forward/' in line}
  segments = 2 if case == TENSOR else 1  # 64 rows and heads for 132 processors
  expected = {'forward': 1, 'dq': 1, 'dkv': 1, 'dprefix': 1}
  if segments > 1:  # the states of prefix and tokens, and their derivatives
    expected |= {'state': 2, 'dprefix': 2}
  assert launches == {name: layers * n for name, n in expected.items()}
  assert {(B, H) for B, _, H, _ in y} == {(segments * MICROBATCH, heads)}


@cases(DATA, TENSOR)
def test_no_kernel_of_the_step_is_serialized_or_spills_much(case):
  kernels = compile_step(case).program.kernels
  assert len(kernels) >= 4
  for kernel in kernels:
    assert not kernel.serialized, kernel
    assert kernel.spill_stores <= 76, kernel


@cases(DATA, TENSOR)
def test_nothing_but_parameters_is_gathered(case):
  step = compile_step(case)
  _, fsdp, _, tensor = case.mesh
  whole = {
      tuple(
          size // tensor if axis == 'tensor' else size
          for size, axis in itertools.zip_longest(x.shape, x.axes)
      )
      for x in cost.weights(step.config['model']).values()
  }
  # Projections of one matrix are multiplied side by side, or apart.
  stacked = [shape for shape in whole if len(shape) == 3]
  whole |= {(E, n * I) for E, n, I in stacked} | {(E, I) for E, _, I in stacked}
  whole |= {tuple(reversed(shape)) for shape in whole}  # of the transposed
  gathered = results(step.hlo, 'all-gather')
  assert bool(gathered) == (fsdp > 1)
  assert set(gathered) <= whole
  for kind in ('all-to-all', 'collective-permute'):
    assert not results(step.hlo, kind)


def test_replicas_exchange_the_sums_of_gradients_once():
  step = compile_step(DATA)
  loops, entry = step.hlo.split('\nENTRY ')
  assert not results(loops, 'all-reduce')
  count = sum(np.prod(x, dtype=int) for x in results(entry, 'all-reduce'))
  parameters = sum(x.size for x in step.params.values())
  assert parameters <= count < parameters + 100  # and a few scalars


def test_projections_of_one_matrix_are_not_stacked_where_nothing_is_shared():
  step = compile_step(DATA)
  stacked = 2 * MICROBATCH * 2048 * 2048  # two of a convolution or an MLP
  assert not [
      x
      for x in shapes_in(step.hlo)
      if len(x) == 4 and 2 in x and np.prod(x, dtype=int) == stacked
  ]


@cases(DATA)
def test_cudnn_has_the_sliding_windows(case):
  step = compile_step(case)
  for target in ('__cudnn$fmhaSoftmax', '__cudnn$fmhaSoftmaxBackward'):
    calls = custom_calls(step.hlo, target)
    assert len(calls) == step.mixers.count('swa')
    assert all('"sliding_window_length": 129' in line for _, line in calls)


@cases(DATA, TENSOR)
def test_logits_never_exist_for_all_tokens(case):
  step = compile_step(case)
  vocabulary = step.params['embedding.embedding'].shape[0] // case.mesh[-1]
  wide = {x for x in shapes_in(step.hlo) if vocabulary in x}
  others = {np.prod(x, dtype=int) // vocabulary for x in wide}
  assert MICROBATCH * loss.BLOCK in others  # logits
  assert max(others) < MICROBATCH * 2048


def test_fusions_read_bfloat16_logits_twice_and_write_their_derivative():
  step = compile_step(DATA)
  program = hlo.parse(step.hlo)

  def moved(trips):
    return sum(
        x.num_bytes
        for x in traffic.operations(program, unknown_trips=trips)
        if x.instruction.opcode == 'fusion'
    )

  blocks = SEQUENCES // MICROBATCH  # a trip for each microbatch
  vocabulary = step.params['embedding.embedding'].shape[0]
  logits = 2 * MICROBATCH * loss.BLOCK * vocabulary  # bytes
  assert 3 * logits < (moved(1) - moved(0)) / blocks < 3.3 * logits


@pytest.mark.parametrize('case', [DATA, NARROW], ids=lambda x: x.residual_dtype)
def test_products_add_what_they_write_to_the_residual_stream(case):
  step = compile_step(case)
  calls = custom_calls(step.hlo, '__cublas$lt$matmul')
  added = [
      shapes[0]
      for shapes, line in calls
      if '"beta":1' in line and 'transpose(' not in line
  ]
  width = step.config['model']['width']
  stream = MICROBATCH * step.config['sequence_length'], width
  assert added.count(stream) == 2 * len(step.mixers)  # of mixers and MLPs


def test_a_bfloat16_residual_stream_is_never_written_in_float32():
  step = compile_step(NARROW)
  size = 4 * MICROBATCH * 2048 * step.config['model']['width']  # bytes
  operations = traffic.operations(hlo.parse(step.hlo), unknown_trips=1)
  written = [shape for x in operations for shape in x.instruction.shapes]
  assert hlo.Shape('bf16', (MICROBATCH, 2048, 1024)) in written
  assert not [
      x
      for x in written
      if x.dtype == 'f32' and x.num_bytes == size and MICROBATCH in x.dims
  ]


def test_fusions_move_at_most_3_6_megabytes_for_each_token():
  program = hlo.parse(compile_step(DATA).hlo)
  operations = traffic.operations(program, unknown_trips=1)
  rates = train_step.RATES['H100']
  fusions = train_step.by_kind(program, operations, rates)['fusions']
  assert fusions['bytes'] < 3.6e6 * SEQUENCES * 2048
