"""Tables of tiles, and the tiles of the Hopper kernels."""

import functools
import re
import types
from unittest import mock

import jax
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels import tiles
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import mosaic_sm90
from pallas_kernels.prefix_linear_attention import mosaic_sm90_devices
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles
from pallas_kernels.prefix_linear_attention.mosaic_sm90_backward import BackwardConfig
from pallas_kernels.prefix_linear_attention.mosaic_sm90_forward import ForwardConfig
from pallas_kernels.prefix_linear_attention.mosaic_sm90_tiles import Tiles

needs_mosaic = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)

TUNED = Tiles(
    forward=ForwardConfig(stages=2),
    backward=BackwardConfig(prefix_chunks=2),
    segment_chunks=4,
)


def device(kind, capability='9.0', platform='gpu', **others):
  return types.SimpleNamespace(
      device_kind=kind,
      compute_capability=capability,
      platform=platform,
      **others,
  )


@pytest.fixture
def on_device(monkeypatch, tmp_path):
  """Makes tables go to an empty folder, and the first device be this one."""
  monkeypatch.setattr(tiles, '_FOLDER', tmp_path)

  def put(*description, **others):
    found = device(*description, **others)
    monkeypatch.setattr(jax, 'devices', lambda: [found])

  return put


def save(kind):
  entries = {'V64': TUNED.entry()}
  return tiles.save('prefix_linear_attention', kind, entries, {'date': 'then'})


def test_a_table_is_read_as_it_was_written(on_device):
  save('NVIDIA H200')
  table = tiles.load('prefix_linear_attention', 'NVIDIA H200')
  assert table.device_kind == 'NVIDIA H200'
  assert table.measured == {'date': 'then'}
  assert Tiles.from_entry(table.entries['V64']) == TUNED


def test_a_table_is_read_from_its_file_once_until_it_is_saved_anew(on_device):
  path = save('NVIDIA H200')
  first = tiles.load('prefix_linear_attention', 'NVIDIA H200')
  path.unlink()
  assert tiles.load('prefix_linear_attention', 'NVIDIA H200') is first
  save('NVIDIA H200')
  again = tiles.load('prefix_linear_attention', 'NVIDIA H200')
  assert again == first and again is not first


def test_the_table_of_the_device_wins_then_that_of_its_relative(on_device):
  on_device('NVIDIA H100 80GB HBM3')
  assert mosaic_sm90_tiles.choose(64) == Tiles()
  save('NVIDIA H200')
  assert mosaic_sm90_tiles.choose(64) == TUNED
  assert mosaic_sm90_tiles.choose(112) == Tiles()  # nothing was measured
  on_device('NVIDIA A100', '8.0')
  assert mosaic_sm90_tiles.choose(64) == Tiles()


def test_the_kernels_are_the_default_where_they_have_been_measured(on_device):
  on_device('NVIDIA H200')
  nothing = 'not measured for V = {} on NVIDIA {}'
  assert nothing.format(64, 'H200') in mosaic_sm90_devices.unproven(64)
  save('NVIDIA H200')
  assert mosaic_sm90_devices.unproven(64) is None
  assert nothing.format(112, 'H200') in mosaic_sm90_devices.unproven(112)
  on_device('NVIDIA H100 PCIe')  # which takes the same tiles
  assert nothing.format(64, 'H100') in mosaic_sm90_devices.unproven(64)
  on_device('TFRT_CPU', None, 'cpu')
  assert 'must be Hopper GPUs' in mosaic_sm90_devices.unproven(64)


@needs_mosaic
@pytest.mark.parametrize(
    'kind, capability',
    [
        ('NVIDIA A100-SXM4-80GB', '8.0'),
        ('NVIDIA B200', '10.0'),
        ('AMD Instinct MI300X', 'gfx942'),
    ],
)
def test_another_gpu_is_refused_in_one_line_named_or_not(
    on_device, kind, capability
):
  on_device(kind, capability)
  inputs = testing.make_inputs(B=1, L=4, P=0, H=1, D=16, V=64, dtype='bfloat16')
  reason = (
      'devices must be GPUs of compute capability 9.0 (Hopper), got'
      f' {kind} of {capability}'
  )
  assert mosaic_sm90_devices.unproven(64) == reason
  with pytest.raises(NotImplementedError, match=re.escape(reason)) as error:
    pallas_kernels.prefix_linear_attention(
        **inputs, implementation='mosaic_sm90'
    )
  assert '\n' not in str(error.value)
  y = pallas_kernels.prefix_linear_attention(
      **inputs, implementation=('mosaic_sm90', 'chunked')
  )
  assert np.isfinite(np.asarray(y, np.float32)).all()


@needs_mosaic
def test_an_interpreter_runs_the_kernels_beside_any_gpu(on_device, monkeypatch):
  on_device('NVIDIA A100-SXM4-80GB', '8.0')
  reached = mock.Mock(side_effect=InterruptedError)
  monkeypatch.setattr(mosaic_sm90.segments, 'attend', reached)
  interpreted = functools.partial(mosaic_sm90.mosaic_sm90, interpret=True)
  monkeypatch.setitem(api.IMPLEMENTATIONS, 'mosaic_sm90', interpreted)
  inputs = testing.make_inputs(B=1, L=4, P=0, H=1, D=16, V=64, dtype='bfloat16')
  with pytest.raises(InterruptedError):
    pallas_kernels.prefix_linear_attention(
        **inputs, implementation='mosaic_sm90'
    )


def test_without_a_name_the_op_tries_the_kernels_first(on_device, monkeypatch):
  on_device('NVIDIA H200')
  taken = []

  def kernel(inputs, **options):
    taken.append(options)
    raise NotImplementedError('too small')

  monkeypatch.setitem(api.IMPLEMENTATIONS, 'mosaic_sm90', kernel)
  # The kernels for V = 64 compute it.
  inputs = testing.make_inputs(B=1, L=4, P=2, H=1, V=48)
  expected = pallas_kernels.prefix_linear_attention(**inputs)
  assert not taken
  save('NVIDIA H200')
  actual = pallas_kernels.prefix_linear_attention(**inputs)
  assert len(taken) == 1
  np.testing.assert_array_equal(actual, expected)


def test_tiles_need_the_implementation_that_takes_them():
  inputs = testing.make_inputs(B=1, L=4, P=2, H=1)
  with pytest.raises(ValueError, match="implementation='mosaic_sm90' only"):
    pallas_kernels.prefix_linear_attention(**inputs, tiles=TUNED)


def test_sequences_are_split_where_programs_do_not_fill_the_device():
  sizes = dict(H=16, V=64, L=32768)
  assert Tiles().segments(B=16, **sizes) == 1
  assert Tiles().segments(B=4, **sizes) == 2
  assert Tiles().segments(B=1, **sizes) == 8
  assert Tiles().segments(B=1, **sizes | {'V': 112}) == 4  # two tiles
  assert Tiles().segments(B=1, **sizes | {'L': 2048}) == 2  # 8 chunks each
  assert Tiles().segments(B=1, **sizes | {'L': 100}) == 1


def test_a_smaller_gpu_is_filled_with_fewer_segments(on_device):
  sizes = dict(B=4, H=16, V=64, L=32768)
  on_device('NVIDIA H200', core_count=132)
  assert Tiles().segments(**sizes) == 2
  on_device('NVIDIA H100 PCIe', core_count=114)
  assert Tiles().segments(**sizes) == 1


def test_what_the_hardware_cannot_take_is_refused_when_it_is_made():
  with pytest.raises(ValueError, match='segment_chunks must be at least 1'):
    Tiles(segment_chunks=0)
  with pytest.raises(ValueError, match='shared memory must be at most'):
    ForwardConfig(stages=9)
