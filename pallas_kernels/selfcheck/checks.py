"""What the kernels have to get right on a device before they may be used.

Forward and backward are compared with the chunked form in float32, computed on
the same device, in memory that was filled with NaN first; repetitions have to
be equal bit for bit. A report of it comes from a process that wrong kernels may
have damaged, so that nothing in it is believed that does not fit together.
"""

from collections.abc import Mapping
import time
from typing import Any

import jax

from pallas_kernels.benchmarks import correctness
from pallas_kernels.benchmarks.correctness import Mode
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles

KERNELS, FALLBACK = 'mosaic_sm90', 'chunked'

# All launches that models use are in them: training, which gives and asks for no
# state, prompts that are read, and the segments of long ones; with a prefix and
# without, and those that look at documents and padding.
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

_READ = 'prefill', 'causal-prefill', 'ragged'  # prompts, without gradients

CALLS = 20  # in a round; the best of a few rounds is what is told
ROUNDS = 5

Report = dict[str, Any]


def run(V: int) -> Report:
  """Checks the kernels for heads of V values on the first device.

  Returns:
    'V'; 'checks', errors and equal repetitions of each; 'reason', what is
    wrong, or None; 'ms', of forward and backward, with what it is beside.
  """
  checks = {name: _check(V, name) for name in _expected()}
  return {
      'V': V,
      'checks': checks,
      'reason': _what_is_wrong(checks),
      'ms': {name: _milliseconds(name, V) for name in (KERNELS, FALLBACK)},
  }


def find_fault(report: Any, about: Mapping[str, Any], V: int) -> str | None:
  """Why the kernels may not run after this report; None if they may.

  Args:
    report: what another process claims to have found.
    about: the device that it was asked for.
    V: the width that it was asked for.
  """
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
  """A device too small to split a sequence would leave a kernel unchecked."""
  w = correctness.workload(mode, V)
  count = mosaic_sm90_tiles.choose(V).segments(B=w.B, H=w.H, V=V, L=w.L)
  if mode.split and count == 1:
    raise ValueError(
        f'the device must have processors for two segments of V {V}, to check'
        ' those, got too few'
    )


def _expected():
  """The names of results of each check; forward comes first."""
  return {
      f'{name} {direction}': names(mode)
      for direction, names in (
          ('forward', _results),
          ('gradients', _gradients),
      )
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
  """Whether it is not negative; infinite or NaN is a number, and wrong."""
  return type(value) is float and not value < 0


def _milliseconds(implementation, V):
  """Of a call forward and backward, with what the host adds."""
  function = correctness.program(implementation, 'gradients')
  arguments = correctness.make_arguments(MODES['prefix'], V, seed=0)
  jax.block_until_ready(function(arguments))  # compiles
  rounds = []
  for _ in range(ROUNDS):
    start = time.perf_counter()
    jax.block_until_ready([function(arguments) for _ in range(CALLS)])
    rounds.append(time.perf_counter() - start)
  return 1e3 * min(rounds) / CALLS
