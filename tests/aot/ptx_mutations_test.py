"""Whether executing a kernel notices that something of it is missing."""

import collections
import copy
import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import pytest

import pallas_kernels
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels import testing
import ptx

pytestmark = [pytest.mark.aot, pytest.mark.slow, pytest.mark.timeout(3600)]

# What is left out of the PTX, one place at a time, and what stands there then.
MISSING = {
    'fence': (r'fence\.proxy\.async\.shared::cta;', ''),
    'fence of barriers': (r'fence\.mbarrier_init\.release\.cluster;', ''),
    'fence of products': (r'wgmma\.fence\.sync\.aligned;', ''),
    'bytes': (
        r'(mbarrier\.arrive\.expect_tx[^;]*), (%\w+);',
        r'sub.s32 %fewer, \2, 16; \1, %fewer;',
    ),
    'parity': (
        r'(mbarrier\.try_wait\.parity[^;]*\]), (%\w+)([^;]*;)',
        r'xor.b32 %other, \2, 1; \1, %other\3',
    ),
    'wait for products': (r'wgmma\.wait_group\.sync\.aligned 0;', ''),
    'arrival': (r'mbarrier\.arrive\.release\.cta[^;]*;', ''),
    'wait for a barrier': (
        r'mbarrier\.try_wait\.parity\.shared\.b64 P1,[^;]*;',
        'setp.eq.s32 P1, 0, 0;',
    ),
    'wait for copies': (r'cp\.async\.bulk\.wait_group[^;]*;', ''),
}
# Where the threads of a warpgroup meet. The compiler lets them do so before and
# after each access, so that one is missed only with its neighbours: all at once.
MEETINGS = r'bar\.sync\s+({}), 128;'
# The same of a tensor map, in the code of the host.
NO_SWIZZLE = (
    r'(call @mosaic_gpu_init_tma_desc\((?:%\w+, ){6})%\w+',
    r'%none = llvm.mlir.constant(16 : i64) : i64\n\1%none',
)

STOP = 'stop.here;'  # no instruction
MISSED, NOT_EXECUTED = 'not noticed', 'not executed at this size'
# Which share of a kind may be missed. Fences, if no register of a product was
# written since the one before; meetings, where each thread arrives for itself at
# the barrier that others wait for; the others, if something else is waited for
# before anything is touched, or nothing happens any more. (That is why one may be
# missed, not what was found of each.)
COVERED = {
    'fence of products': 0.5,
    'meetings': 0.5,
    'parity': 0.1,
    'wait for products': 0.5,
    'wait for a barrier': 0.5,
}


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
  """By name: a kernel that lacks something, and one that stops at that place."""
  for name, (pattern, replacement) in MISSING.items():
    changes = replaced_once(pattern, replacement, kernel.ptx)
    stops = replaced_once(pattern, STOP, kernel.ptx)
    for i, texts in enumerate(zip(changes, stops)):
      yield f'{name} {i}', [dataclasses.replace(kernel, ptx=x) for x in texts]
  barriers = sorted(set(re.findall(MEETINGS.format(r'%\w+'), kernel.ptx)))
  for i, barrier in enumerate(barriers):
    texts = [
        re.sub(MEETINGS.format(barrier), x, kernel.ptx) for x in ('', STOP)
    ]
    yield f'meetings {i}', [dataclasses.replace(kernel, ptx=x) for x in texts]
  for i, changed in enumerate(replaced_once(*NO_SWIZZLE, kernel.host)):
    texts = changed, ''
    yield f'swizzle {i}', [dataclasses.replace(kernel, host=x) for x in texts]


def replaced_once(pattern, replacement, text):
  """Texts in which one of the places has been replaced."""
  for place in re.finditer(pattern, text):
    yield (
        text[: place.start()] + place.expand(replacement) + text[place.end() :]
    )


def noticed(kernel, seed=0):
  """What is noticed of a kernel: a violation, wrong numbers, or nothing."""
  program, inputs, expected = compile_forward()
  program = copy.copy(program)
  program.kernels = (kernel,)
  try:
    actual = program(inputs, late=True, seed=seed)
    testing.assert_close(actual, expected, testing.TOLERANCE['bfloat16'])
  except (AssertionError, ptx.Violation) as error:
    return f'{type(error).__name__}: {error}'
  return None


def result_of(name, changed, stopping):
  """What is noticed in some order of the warpgroups, or why nothing is."""
  if what := noticed(changed):
    return what
  if not noticed(stopping):
    return NOT_EXECUTED
  others = range(1, 5) if name.startswith('parity') else ()
  return next(filter(None, (noticed(changed, x) for x in others)), MISSED)


def test_whatever_is_missing_is_noticed_but_what_others_cover():
  program, _, _ = compile_forward()
  (kernel,) = program.kernels
  assert not noticed(kernel)
  results = {
      name: result_of(name, *kernels) for name, kernels in mutations(kernel)
  }
  print(*(f'{name}: {what}' for name, what in results.items()), sep='\n')
  kind = lambda name: name.rpartition(' ')[0]
  assert [*results.values()].count(NOT_EXECUTED) <= 0.2 * len(results)
  kinds = collections.Counter(map(kind, results))
  assert kinds.keys() == {*MISSING, 'meetings', 'swizzle'}
  missed = collections.Counter(
      kind(name) for name, what in results.items() if what == MISSED
  )
  for name, count in missed.items():
    assert count <= COVERED.get(name, 0) * kinds[name], name
  for name, what in results.items():
    if name.startswith(('fence', 'meetings')):  # not by wrong numbers alone
      assert not what.startswith('AssertionError'), f'{name}: {what}'
