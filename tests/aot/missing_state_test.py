"""What the compiled operation moves where nobody gives or reads a state."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from jrt_jax.compiled import hlo
from jrt_jax.compiled import traffic
import pallas_kernels
from pallas_kernels import virtual_gpus

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]

B, L, H, D, V = 2, 512, 2, 16, 64
BFLOAT16, FLOAT32, INT32 = 2, 4, 4  # bytes
KEYS, VALUES, SCALARS = L * D * BFLOAT16, L * V * BFLOAT16, L * FLOAT32
STATE = (V * 160 + 64 * 32) * FLOAT32  # kv_t and gram


@functools.cache
def moved(P):
  """Bytes of a training step for each row and head, by launch."""
  array = lambda length, width: jax.ShapeDtypeStruct(
      (B, length, H, width), jnp.bfloat16
  )
  q, v, k_enc, v_enc = array(L, D), array(L, V), array(P, D), array(P, V)
  prefix_len = jax.ShapeDtypeStruct((B,), jnp.int32)

  def step(dy, prefix_len, *arrays):
    def attend(q, k, v, k_enc=None, v_enc=None):
      return pallas_kernels.prefix_linear_attention(
          *(q, k, v, k_enc, v_enc),
          prefix_len if P else None,
          implementation='mosaic_sm90',
      )

    y, vjp = jax.vjp(attend, *arrays)
    return y, vjp(dy)

  prefix = (k_enc, v_enc) if P else ()
  compiled = virtual_gpus.compile_for(
      'H100', step, v, prefix_len, q, q, v, *prefix
  )
  bytes_of = {'others': 0}
  for x in traffic.operations(hlo.parse(compiled.as_text()), unknown_trips=1):
    match = re.search(r'prefix_linear_attention_(\w+)/', x.instruction.op_name)
    is_launch = match and x.instruction.opcode == 'custom-call'
    name = match[1] if is_launch else 'others'
    bytes_of[name] = bytes_of.get(name, 0) + x.num_bytes / (B * H)
  return bytes_of


@pytest.mark.parametrize('P', [256, pytest.param(0, marks=pytest.mark.slow)])
def test_a_training_step_reads_and_writes_no_state_but_that_of_the_prefix(P):
  prefix = P * (D + V) * BFLOAT16
  lengths = INT32 / H if P else 0
  forward = 2 * KEYS + 2 * VALUES + SCALARS
  dq = forward + VALUES + KEYS + SCALARS
  dkv = 3 * KEYS + 3 * VALUES + 2 * SCALARS
  expected = {
      'forward': forward + prefix + lengths,
      'dq': dq + prefix + lengths,
      'dkv': dkv,
  }
  if P:  # the cotangent of the state after the prefix
    expected['dkv'] += STATE
    expected['dprefix'] = STATE + 2 * prefix + lengths
  actual = dict(moved(P))
  assert actual.pop('others') < STATE / 2
  assert actual == expected
