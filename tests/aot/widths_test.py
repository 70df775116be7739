"""Heads of other widths and dtypes, compiled for an H100 that is not there."""

import functools

import jax
import jax.numpy as jnp
import pytest

import pallas_kernels
from ptx import kernels

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]


@functools.cache
def program():
  """Outputs and gradients of float32 heads of 8 keys and 48 values."""
  B, L, P, H, D, V = 1, 300, 100, 2, 8, 48
  shape = lambda *size: jax.ShapeDtypeStruct(size, jnp.float32)
  q, v = shape(B, L, H, D), shape(B, L, H, V)
  k_enc, v_enc = shape(B, P, H, D), shape(B, P, H, V)

  def run(dy, *arrays):
    op = functools.partial(
        pallas_kernels.prefix_linear_attention, implementation='mosaic_sm90'
    )
    y, vjp = jax.vjp(op, *arrays)
    return y, vjp(dy)

  with jax.default_matmul_precision('bfloat16'):
    return kernels.compile_for('H100', run, v, q, q, v, k_enc, v_enc)


def test_the_kernels_are_those_of_all_heads():
  start = 'prefix_linear_attention_'
  names = {x.name.removeprefix(start) for x in program().kernels}
  assert names == {'forward', 'dq', 'dkv', 'dprefix'}


def test_the_second_part_of_queries_is_not_optimised_away():
  assert 'reduce-precision' in program().compiled.as_text()
