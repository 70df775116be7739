"""What CUDA refuses."""

import dataclasses

import pytest

import ptx
from ptx import host
from ptx import limits

MAP = host.TensorMap(
    argument=0,
    element=2,
    sizes=(4, 128, 64),
    strides=(8192, 64, 1),
    box=(1, 128, 64),
    swizzle=128,
)
LAUNCH = host.Launch(
    grid=(1, 2, 3),
    threads=(512, 1, 1),
    shared_memory=227 * 1024,
    parameters=(0, {0: MAP}),
)


def test_what_fits_is_accepted():
  limits.check(LAUNCH, registers=128)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'grid': (1, 65536, 1)}, 'grid.y must be from 1 to 65535, is 65536'),
        ({'grid': (0, 1, 1)}, 'grid.x must be from 1'),
        ({'threads': (1152, 1, 1)}, 'threads must be whole .* are 1152'),
        ({'threads': (192, 1, 1)}, 'whole warpgroups of 128'),
        ({'shared_memory': 227 * 1024 + 1}, 'at most 232448 bytes'),
    ],
)
def test_a_launch_that_is_too_large_is_refused(changes, message):
  with pytest.raises(ptx.Violation, match=message):
    limits.check(dataclasses.replace(LAUNCH, **changes), registers=64)


def test_more_registers_than_there_are_are_refused():
  with pytest.raises(ptx.Violation, match='at most 65536, are 69632'):
    limits.check(LAUNCH, registers=129)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'sizes': (0, 128, 64)}, 'sizes from 1'),
        ({'strides': (8192, 60, 1)}, 'strides of multiples of 16 bytes'),
        ({'strides': (8192, 64, 2)}, 'contiguous'),
        ({'box': (1, 257, 64)}, 'boxes from 1 to 256'),
        ({'box': (1, 128, 4)}, 'rows of multiples of 16 bytes'),
        ({'swizzle': 64}, 'fit in the swizzle'),
        ({'swizzle': 256}, 'must have a swizzle'),
        ({'box': (16, 128, 64)}, 'fit in shared memory'),
    ],
)
def test_a_tensor_map_that_cuda_refuses_is_named(changes, message):
  tensor_map = dataclasses.replace(MAP, **changes)
  launch = dataclasses.replace(LAUNCH, parameters=(0, {0: tensor_map}))
  with pytest.raises(ptx.Violation, match=message):
    limits.check(launch, registers=128)
