"""What ptxas makes of every kernel for Hopper.

Those for 64 values are compiled in `train_step_test` as well.
"""

import functools

import jax
import jax.numpy as jnp
import pytest

from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward as backward
from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_dkv as dkv
from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_dprefix as dprefix
from pallas_kernels.prefix_linear_attention import mosaic_sm90_backward_dq as dq
from pallas_kernels.prefix_linear_attention import mosaic_sm90_documents as documents
from pallas_kernels.prefix_linear_attention import mosaic_sm90_forward as forward
from pallas_kernels.prefix_linear_attention import mosaic_sm90_limits as limits
from pallas_kernels.prefix_linear_attention import mosaic_sm90_state as state
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles as tiles
from pallas_kernels.prefix_linear_attention import roll_features
from ptx import host
from ptx import kernels as kernels_lib
from ptx import limits as ptx_limits

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]

TILES = tiles.Tiles()
# Bytes that a thread may store for want of registers.
SPILLS = {'forward': 76, 'dq': 8, 'dkv': 44, 'dprefix': 0, 'state': 0}
# The same where documents are packed; 8 bytes more than with jax 0.11.2.
PACKED_SPILLS = SPILLS | {'forward': 80, 'dq': 48, 'dkv': 60}


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


every_variant = pytest.mark.parametrize(
    'V, P, with_state, packed',
    [
        (112, 256, True, False),
        (128, 0, False, False),
        (64, 256, True, True),
        slow(64, 256, True, False),
        slow(64, 256, False, False),
        slow(64, 0, True, False),
        slow(64, 0, False, False),
        slow(64, 0, False, True),
        slow(112, 256, False, False),
        slow(112, 256, True, True),
        slow(112, 0, True, False),
        slow(112, 0, False, False),
        slow(128, 256, True, False),
        slow(128, 256, True, True),
        slow(128, 256, False, False),
        slow(128, 0, True, False),
    ],
)


def launch_all(q, k, v, prefix, past, packed):
  """Every launch once, for every output; the values mean nothing."""
  B, L, _, _ = q.shape
  arrays = q, k, v, *prefix, *past
  y, inv_z, *last = forward.forward(*arrays, packed, config=TILES.forward)
  gradients = backward.backward(
      *arrays, y, inv_z, y, *last, packed, config=TILES.backward
  )
  lengths, end = jnp.full(B, L, jnp.int32), packed and packed.end
  summed = state.final_state(k, v, lengths, end)
  return y, inv_z, last, gradients, summed


@functools.cache
def compile_all(V, P, with_state, packed):
  """The kernels by name."""
  B, L, H = 2, 512, 2
  bfloat16 = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.bfloat16)
  float32 = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
  int32 = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32)
  q, v, prefix, past = bfloat16(B, L, H, 16), bfloat16(B, L, H, V), (), ()
  if P:
    prefix = bfloat16(B, P, H, 16), bfloat16(B, P, H, V), int32(B)
  if with_state:
    past = (
        float32(B, H, V, roll_features.NUM_FEATURES),
        float32(B, H, *roll_features.GRAM_SHAPE),
    )
  spans = int32(B, L), int32(B, L), int32(B, P)
  program = kernels_lib.compile_for(
      'H100',
      *(launch_all, q, q, v, prefix or (None,) * 3, past or (None,) * 2),
      documents.Documents(*spans) if packed else None,
  )
  start = 'prefix_linear_attention_'
  return {x.name.removeprefix(start): x for x in program.kernels}


@every_variant
def test_every_launch_is_compiled(V, P, with_state, packed):
  expected = {*SPILLS} if P else {*SPILLS} - {'dprefix'}
  assert {*compile_all(V, P, with_state, packed)} == expected


@every_variant
def test_no_matrix_product_waits_for_another(V, P, with_state, packed):
  kernels = compile_all(V, P, with_state, packed)
  assert not [name for name, kernel in kernels.items() if kernel.serialized]


@every_variant
def test_registers_are_hardly_spilled(V, P, with_state, packed):
  most = PACKED_SPILLS if packed else SPILLS
  for name, kernel in compile_all(V, P, with_state, packed).items():
    assert kernel.spill_stores <= most[name], name


@every_variant
def test_shared_memory_is_at_most_what_was_predicted(V, P, with_state, packed):
  stages = TILES.backward.stages
  predicted = {
      'forward': forward.make_scratch(
          TILES.forward.stages, V=V, documents=packed
      ),
      'dq': dq.make_scratch(stages, V, packed),
      'dkv': dkv.make_scratch(stages, V, packed),
      'dprefix': dprefix.make_scratch(V),
      'state': state.make_scratch(V, packed),
  }
  for name, kernel in compile_all(V, P, with_state, packed).items():
    most = limits.shared_memory_bytes(predicted[name])
    assert kernel.shared_memory <= most <= limits.SHARED_MEMORY, name


@every_variant
def test_cuda_accepts_every_launch_and_every_tensor_map(
    V, P, with_state, packed
):
  for kernel in compile_all(V, P, with_state, packed).values():
    launch = host.read_launch(kernel.host)
    assert launch.tensor_maps
    ptx_limits.check(launch, kernel.registers)


def test_too_few_registers_are_noticed():
  def starve(q, v):
    config = forward.ForwardConfig(registers=(24, 128, 128))
    return forward.forward(q, q, v, *[None] * 5, config=config)

  shape = lambda D: jax.ShapeDtypeStruct((1, 256, 1, D), jnp.bfloat16)
  program = kernels_lib.compile_for('H200', starve, shape(16), shape(64))
  (kernel,) = program.kernels
  assert kernel.serialized
  assert kernel.spill_stores > SPILLS['forward']
