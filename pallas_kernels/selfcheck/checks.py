"""The checks that kernels must pass on a device before they may be used.

Forward and backward are compared with the chunked form in float32 on the same
device, in memory that was filled with NaN before. Repetitions must be equal bit
for bit. The report comes from a process that wrong kernels may have damaged, so
that an inconsistent report is rejected.
"""

from collections.abc import Mapping
import time
from typing import Any

import jax

from pallas_kernels.benchmarks import correctness
from pallas_kernels.benchmarks.correctness import Mode
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles

KERNELS, FALLBACK = 'mosaic_sm90', 'chunked'

# They include all launches that models use: training (without states), prefill,
# and the segments of long prompts; with and without a prefix, and with
# documents and padding.
MODES = {
    'prefix': Mode(B=2, H=8, L=1024, P=512, final=False, exact=False),
    'causal': Mode(B=2, H=8, L=1024, P=0, final=False, exact=False),
    'prefill': Mode(B=2, H=8, L=1024, P=512, exact=False),
    'causal-prefill': Mode(B=2, H=8, L=1024, P=0, exact=False),
    'ragged': Mode(
        B=2, H=8, L=1000, P=500, lengths=(77, 0), states=True, exact=False
    ),
    'split': Mode(
        B=1,
        L=2048,
        P=1000,
        lengths=(900,),
        states=True,
        exact=False,
        split=True,
    ),
}
MODES |= {
    f'packed-{name}': MODES[name]._replace(packed=True)
    for name in ('prefix', 'causal', 'split')
}

_READ = 'prefill', 'causal-prefill', 'ragged'  # for prompts: no gradients

CALLS = 20  # calls of a round; the best of a few rounds is reported
ROUNDS = 5

Report = dict[str, Any]


def run(V: int) -> Report:
  """Checks the kernels for heads of V values on the first device.

  Returns:
    'V'; 'checks', the errors and equal repetitions of each; 'reason', what is
    wrong, or None; 'ms', the times of forward and backward of kernels and
    `chunked`.
  """
  checks = {name: _check(V, name) for name in _expected()}
  return {
      'V': V,
      'checks': checks,
      'reason': _what_is_wrong(checks),
      'ms': {name: _milliseconds(name, V) for name in (KERNELS, FALLBACK)},
  }


def find_fault(report: Any, about: Mapping[str, Any], V: int) -> str | None:
  """Why the kernels may not run after this report; None if they may."""
  if not _has_form(report):
    return 'its report lacks something, or is none'
  if report['about'] != about or report['V'] != V:
    return 'its report is of another device or another width'
  wrong = _what_is_wrong(report['checks'])
  if wrong != report['reason']:
    return 'its report contradicts itself'
  return wrong


def _check(V, name):
  mode, direction = name.split()
  _check_split(MODES[mode], V)
  errors, equal = correctness.compare(
      correctness.program(KERNELS, direction),
      *(MODES[mode], V, direction),
      fresh=correctness.FRESH,
      repetitions=correctness.EQUAL,
  )
  return {'errors': errors, 'equal': equal}


def _check_split(mode, V):
  """Checks split sequences; an error on a device too small to split them."""
  w = correctness.workload(mode, V)
  count = mosaic_sm90_tiles.choose(V).segments(B=w.B, H=w.H, V=V, L=w.L)
  if mode.split and count == 1:
    raise ValueError(
        f'the device must have processors for two segments of V {V}, to check'
        ' those, got too few'
    )


def _expected():
  """The names of the results of each check, forward first."""
  return {
      f'{name} {direction}': names(mode)
      for direction, names in (('forward', _results), ('gradients', _gradients))
      for name, mode in MODES.items()
      if direction == 'forward' or name not in _READ
  }


def _results(mode):
  return {'y'} | ({'state.kv', 'state.k'} if mode.final else set())


def _gradients(mode):
  prefix = {'k_enc', 'v_enc'} if mode.P else set()
  past = {'initial_state.kv', 'initial_state.k'} if mode.states else set()
  return {'q', 'k', 'v'} | prefix | past


def _what_is_wrong(checks):
  for name, check in checks.items():
    wrong = correctness.what_is_wrong(
        name.split()[1], check['errors'], check['equal'], correctness.EQUAL
    )
    if wrong:
      return f'{name}: {wrong}'
  return None


def _has_form(report):
  expected = _expected()
  return (
      _has(report, {'V', 'about', 'checks', 'reason', 'ms'})
      and _has(report['ms'], {KERNELS, FALLBACK})
      and all(map(_is_number, report['ms'].values()))
      and _has(report['checks'], expected.keys())
      and all(
          _has(check, {'errors', 'equal'})
          and check['equal'] in range(correctness.EQUAL + 1)
          and _has(check['errors'], expected[name])
          and all(map(_is_number, check['errors'].values()))
          for name, check in report['checks'].items()
      )
  )


def _has(value, keys):
  return isinstance(value, dict) and value.keys() == keys


def _is_number(value):
  """Whether it is a number that is not negative; inf and nan are numbers."""
  return type(value) is float and not value < 0


def _milliseconds(implementation, V):
  """The time of a call forward and backward, including the host."""
  function = correctness.program(implementation, 'gradients')
  arguments = correctness.make_arguments(MODES['prefix'], V, seed=0)
  jax.block_until_ready(function(arguments))  # compiles
  rounds = []
  for _ in range(ROUNDS):
    start = time.perf_counter()
    jax.block_until_ready([function(arguments) for _ in range(CALLS)])
    rounds.append(time.perf_counter() - start)
  return 1e3 * min(rounds) / CALLS
