"""Conversions between types, and bfloat16 arithmetic."""

import jax.numpy as jnp
import numpy as np

from ptx.arithmetic import TYPES

BFLOAT16 = np.dtype(jnp.bfloat16)


def pack(low: np.ndarray, high: np.ndarray) -> np.ndarray:
  """Rounds two float32 to bfloat16, packed in a word."""
  low, high = (
      x.astype(BFLOAT16).view(np.uint16).astype(np.uint32) for x in (low, high)
  )
  return low | high << np.uint32(16)


def unpack(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The two bfloat16 of a word as float32, the lower one first."""
  low = (words << np.uint32(16)).view(np.float32)
  return low, (words & np.uint32(0xFFFF0000)).view(np.float32)


def _integers(target_type, source_type):
  def run(group, target, source):
    value = group.read(source, TYPES[source_type])
    group.write(target, value.astype(TYPES[target_type]))

  return run


def _round(group, target, source):
  value = group.read(source, np.float32)
  group.write(target, value.astype(BFLOAT16))


def _round_pair(group, target, high, low):
  high, low = (group.read(x, np.float32) for x in (high, low))
  group.write(target, pack(low, high))


def _widen(group, target, source):
  group.write(target, group.read(source, BFLOAT16).astype(np.float32))


def _pairs(function):
  """An instruction that computes `function` of pairs, in float32."""

  def run(group, target, *sources):
    words = [unpack(group.read(x, np.uint32)) for x in sources]
    with np.errstate(all='ignore'):
      low, high = (
          function(*(x.astype(np.float64) for x in half)).astype(np.float32)
          for half in zip(*words)
      )
    group.write(target, pack(low, high))

  return run


INSTRUCTIONS = {
    **{
        f'cvt.{target}.{source}': _integers(target, source)
        for target in ('u16', 'u32', 'u64', 's16', 's32', 's64')
        for source in ('u16', 'u32', 'u64', 's16', 's32', 's64')
    },
    'cvt.rn.f32.s32': _integers('f32', 's32'),
    'cvt.rn.f32.u32': _integers('f32', 'u32'),
    'cvt.rn.bf16.f32': _round,
    'cvt.rn.bf16x2.f32': _round_pair,
    'cvt.f32.bf16': _widen,
    'add.bf16x2': _pairs(np.add),
    'add.rn.bf16x2': _pairs(np.add),
    'sub.bf16x2': _pairs(np.subtract),
    'sub.rn.bf16x2': _pairs(np.subtract),
    'mul.bf16x2': _pairs(np.multiply),
    'mul.rn.bf16x2': _pairs(np.multiply),
    'fma.rn.bf16x2': _pairs(lambda x, y, z: x * y + z),
}
