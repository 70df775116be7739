"""The checks themselves, with the definition in place of the kernels."""

import json
import types

import jax
import jax.numpy as jnp
import pytest

from pallas_kernels.benchmarks import correctness
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels.prefix_linear_attention import mosaic_sm90_widths
from pallas_kernels.prefix_linear_attention import reference
from pallas_kernels.selfcheck import checks

ABOUT = {'device': 'a fake one'}
TINY = correctness.Mode(
    B=1, H=1, L=6, P=4, lengths=(3,), states=True, exact=False
)


@pytest.fixture
def run(monkeypatch, unoptimized):
  """Runs the checks in one tiny mode, with what `change` makes of the truth."""
  monkeypatch.setattr(checks, 'MODES', {'prefix': TINY})
  monkeypatch.setattr(checks, 'ROUNDS', 1)
  monkeypatch.setattr(correctness, 'FRESH', 1)
  monkeypatch.setattr(correctness, 'EQUAL', 2)

  def run(change):
    def kernel(inputs, **options):
      return change(*reference.reference(inputs, **options))

    monkeypatch.setitem(api.IMPLEMENTATIONS, 'mosaic_sm90', kernel)
    correctness._call.clear_cache()  # another kernel is another program
    for direction in correctness.DIRECTIONS:
      correctness.program(checks.KERNELS, direction).clear_cache()
    report = checks.run(3) | {'about': ABOUT}
    return json.loads(json.dumps(report))  # as it comes from another process

  return run


def test_a_right_kernel_has_a_report_without_fault(run):
  report = run(lambda y, state: (y, state))
  assert checks.find_fault(report, ABOUT, 3) is None
  gradients = report['checks']['prefix gradients']
  assert gradients['equal'] == 2
  assert 0 < max(gradients['errors'].values()) < 1e-2
  assert all(ms > 0 for ms in report['ms'].values())


def test_a_wrong_kernel_has_a_report_that_says_so(run):
  report = run(lambda y, state: (y.at[0, -1].set(jnp.nan), state))
  found = checks.find_fault(report, ABOUT, 3)
  assert found.startswith('prefix forward: y differs by nan')


def test_those_modes_are_split_that_say_so():
  tiles = mosaic_sm90_tiles.Tiles()
  for V in mosaic_sm90_widths.VALUE_WIDTHS:
    for name, mode in checks.MODES.items():
      w = correctness.workload(mode, V)
      segments = tiles.segments(B=w.B, H=w.H, V=V, L=w.L)
      assert (segments > 1) == mode.split, name


def test_a_device_too_small_for_segments_is_refused(monkeypatch):
  small = types.SimpleNamespace(device_kind='NVIDIA H100 MIG', core_count=3)
  monkeypatch.setattr(jax, 'devices', lambda: [small])
  with pytest.raises(ValueError, match='processors for two segments of V 64'):
    checks._check(64, 'split forward')


def test_what_training_and_prompts_give_to_the_kernels_is_checked():
  checked = {
      (bool(mode.P), mode.packed, mode.states, mode.final)
      for mode in checks.MODES.values()
  }
  for prefix in (True, False):
    for packed in (True, False):
      assert (prefix, packed, False, False) in checked  # training
    assert (prefix, False, False, True) in checked  # a prompt
  assert (True, False, True, True) in checked  # one that continues


@pytest.mark.parametrize('final', [True, False])
def test_the_kernels_are_asked_for_the_final_state_if_the_mode_is(run, final):
  mode = TINY._replace(states=final, final=final)
  checks.MODES['prefix'] = mode
  asked = set()

  def kernel(y, state):
    asked.add(state is not None)
    return y, state

  report = run(kernel)
  assert asked == {final}
  assert checks.find_fault(report, ABOUT, 3) is None
  assert ('state.kv' in report['checks']['prefix forward']['errors']) == final
