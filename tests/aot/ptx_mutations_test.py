"""Whether executing a kernel notices that something of it is missing."""

import copy
import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import pytest

import pallas_kernels
from pallas_kernels import ptx
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles

pytestmark = [pytest.mark.aot, pytest.mark.slow, pytest.mark.timeout(3600)]

# What is left out of the PTX, one place at a time, and what stands there then.
MISSING = {
    'fence': (r'fence\.proxy\.async\.shared::cta;', ''),
    'wait for products': (r'wgmma\.wait_group\.sync\.aligned 0;', ''),
    'arrival': (r'mbarrier\.arrive\.release\.cta[^;]*;', ''),
    'wait for a barrier': (
        r'mbarrier\.try_wait\.parity\.shared\.b64 P1,[^;]*;',
        'setp.eq.s32 P1, 0, 0;',
    ),
    'wait for copies': (r'cp\.async\.bulk\.wait_group[^;]*;', ''),
}
# The same of a tensor map, in the code of the host.
NO_SWIZZLE = (
    r'(call @mosaic_gpu_init_tma_desc\((?:%\w+, ){6})%\w+',
    r'%none = llvm.mlir.constant(16 : i64) : i64\n\1%none',
)


def evaluate(inputs, implementation, **options):
  return pallas_kernels.prefix_linear_attention(
      **inputs, implementation=implementation, return_state=True, **options
  )


@functools.cache
def compile_forward():
  """The forward kernel, one block of it: five chunks of prefix, then five."""
  inputs = testing.make_inputs(
      B=1, L=620, P=600, H=1, D=16, V=64, dtype='bfloat16'
  )
  inputs = jax.tree.map(jnp.asarray, inputs)
  tiles = mosaic_sm90_tiles.Tiles()
  run = functools.partial(evaluate, implementation='mosaic_sm90', tiles=tiles)
  exact = lambda x: x.astype('float32') if x.dtype == jnp.bfloat16 else x
  expected = evaluate(jax.tree.map(exact, inputs), 'reference')
  return ptx.Executable(run, inputs), inputs, expected


def mutations(kernel):
  """Kernels, by what they lack."""
  for name, (pattern, replacement) in MISSING.items():
    for i, changed in enumerate(
        replaced_once(pattern, replacement, kernel.ptx)
    ):
      yield f'{name} {i}', dataclasses.replace(kernel, ptx=changed)
  for i, changed in enumerate(replaced_once(*NO_SWIZZLE, kernel.host)):
    yield f'swizzle {i}', dataclasses.replace(kernel, host=changed)


def replaced_once(pattern, replacement, text):
  """Texts in which one of the places has been replaced."""
  for place in re.finditer(pattern, text):
    yield (
        text[: place.start()] + place.expand(replacement) + text[place.end() :]
    )


def noticed(kernel):
  """What is noticed of a kernel: a violation, wrong numbers, or nothing."""
  program, inputs, expected = compile_forward()
  program = copy.copy(program)
  program.kernels = (kernel,)
  try:
    actual = program(inputs, late=True)
    testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])
  except (AssertionError, ptx.Violation) as error:
    return f'{type(error).__name__}: {error}'
  return None


def test_whatever_is_missing_is_noticed_but_waits_that_others_cover():
  """64 of 88 things are noticed, among them all that are no waits.

  The others are waits after which nothing is read or overwritten before the next
  one, and those at the end, after which nothing happens any more.
  """
  program, _, _ = compile_forward()
  (kernel,) = program.kernels
  assert not noticed(kernel)
  results = {name: noticed(x) for name, x in mutations(kernel)}
  print(*(f'{name}: {what}' for name, what in results.items()), sep='\n')
  missed = [name for name, what in results.items() if not what]
  assert all(re.match('wait for (products|a barrier)', x) for x in missed)
  assert len(results) >= 54
  assert len(missed) <= 0.3 * len(results)
