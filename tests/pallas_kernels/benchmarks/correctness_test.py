import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.benchmarks import correctness
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.results import Folder
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels.prefix_linear_attention import feature_maps
from pallas_kernels.prefix_linear_attention import reference

MODE = correctness.Mode(B=2, L=6, P=4, lengths=(3, 0), states=True)

PROGRAMS = itertools.count(1000)


@pytest.fixture
def check(tmp_path, monkeypatch, unoptimized):
  """Checks a function of outputs, state and inputs in place of the kernels."""
  monkeypatch.setitem(correctness.MODES, 'ragged', MODE)
  monkeypatch.setattr(correctness, 'FRESH', 1)
  monkeypatch.setattr(correctness, 'EQUAL', 2)

  def check(direction, change):
    def kernel(inputs, *, tiles, **options):
      del tiles
      return change(*reference.reference(inputs, **options), inputs)

    monkeypatch.setitem(api.IMPLEMENTATIONS, 'mosaic_sm90', kernel)
    # Other tiles are another program; the truth is compiled once.
    tiles = mosaic_sm90_tiles.Tiles(segment_chunks=next(PROGRAMS))
    settings = Settings(Folder(tmp_path))
    return correctness.check(settings, 3, 'ragged', direction, tiles)

  return check


def test_what_is_right_passes_with_errors_of_all_gradients(check):
  row = check('gradients', lambda y, state, inputs: (y, state))
  assert 'error' not in row
  assert row['equal_repetitions'] == '2 of 2'
  assert row['errors'].keys() == {
      *('q', 'k', 'v', 'k_enc', 'v_enc'),
      *('initial_state.kv', 'initial_state.k'),
  }
  assert 0 < row['worst'] < 1e-2  # of rounding to bfloat16


def test_kernels_that_overlook_padding_are_wrong(check, monkeypatch):
  monkeypatch.setitem(correctness.MODES, 'ragged', MODE._replace(packed=True))

  def overlook(y, state, inputs):
    return reference.reference(
        inputs._replace(mask=jnp.ones_like(inputs.mask)),
        feature_map=feature_maps.taylor_exp(),
        normalizer='sum',
    )

  assert 'y differs by' in check('forward', overlook)['error']


@pytest.mark.parametrize(
    'change, name',
    [
        (lambda y, state, inputs: (y * 1.02, state), 'y'),
        (lambda y, state, inputs: (y.at[0, 0].set(jnp.nan), state), 'y'),
        (
            lambda y, state, inputs: (y, state._replace(k=state.k * 1.01)),
            'state.k',
        ),
    ],
)
def test_a_wrong_result_is_named(check, change, name):
  row = check('forward', change)
  assert row['error'].startswith(f'{name} differs by')


def test_a_wrong_gradient_is_named(check):
  def change(y, state, inputs):
    del state
    stopped = inputs._replace(v=jax.lax.stop_gradient(inputs.v))
    return reference.reference(
        stopped, feature_map=feature_maps.taylor_exp(), normalizer='sum'
    )

  assert check('gradients', change)['error'].startswith('v differs by 1,')


def test_results_that_change_from_run_to_run_are_found(check):
  count = iter(range(99))

  def change(y, state, inputs):
    shape = jax.ShapeDtypeStruct((), 'float32')
    noise = jax.pure_callback(lambda: np.float32(next(count)), shape)
    return y, state._replace(k=state.k + 1e-5 * noise)

  row = check('forward', change)
  assert row['error'] == 'only 0 of 2 repetitions are equal'


def test_inputs_are_fresh_in_each_repetition():
  first, second = (
      correctness.make_arguments(MODE, 3, seed)['inputs'] for seed in (0, 1)
  )
  for name in ('q', 'k', 'v', 'k_enc', 'v_enc'):
    assert not np.array_equal(first[name], second[name])
  assert first['prefix_len'].tolist() == [3, 0]


def test_every_width_is_checked_forward_before_its_gradients(tmp_path):
  names = [c.name for c in correctness.cases(Settings(Folder(tmp_path)))]
  assert len(names) == len(set(names)) == 3 * 2 * len(correctness.MODES)
  assert names.index('V64 long forward') < names.index('V64 causal gradients')
  assert names.index('V64 long gradients') < names.index('V112 causal forward')


def test_the_default_tiles_split_what_they_are_said_to():
  tiles = mosaic_sm90_tiles.Tiles()
  for name, mode in correctness.MODES.items():
    w = correctness.workload(mode, 64)
    segments = tiles.segments(B=w.B, H=w.H, V=w.V, L=w.L)
    assert (segments > 1) == mode.split, name
