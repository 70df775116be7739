"""What is read of the code that launches a kernel."""

import numpy as np
import pytest

import ptx
from ptx import host

HOST = """
module {
  func.func private @mosaic_gpu_init_tma_desc(!llvm.ptr) loc(#loc3)
  func.func @launch(%stream: !llvm.ptr loc("a"), %table: !llvm.ptr loc("b")) {
    %0 = llvm.mlir.constant(7 : i64) : i64 loc(#loc2)
    %1 = llvm.mlir.constant(1 : i64) : i64 loc(#loc2)
    %2 = llvm.mlir.constant(2 : i64) : i64 loc(#loc2)
    %3 = llvm.mlir.constant(64 : i64) : i64 loc(#loc2)
    %4 = llvm.mlir.constant(32 : i64) : i64 loc(#loc2)
    %5 = llvm.getelementptr %table[2] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %6 = llvm.load %5 : !llvm.ptr -> !llvm.ptr loc(#loc1)
    %7 = llvm.load %table : !llvm.ptr -> !llvm.ptr loc(#loc1)
    %8 = llvm.mlir.undef : !llvm.struct<(ptr, ptr, i64)> loc(#loc1)
    %9 = llvm.insertvalue %6, %8[1] : !llvm.struct<(ptr, ptr, i64)> loc(#loc1)
    %10 = builtin.unrealized_conversion_cast %9 : !llvm.struct<()> to memref<2>
    %maps = llvm.alloca %1 x !llvm.array<256 x i8> : (i64) -> !llvm.ptr
    %map = llvm.getelementptr %maps[128] : (!llvm.ptr) -> !llvm.ptr, i8
    %11 = llvm.alloca %1 x !llvm.array<2 x i64> : (i32) -> !llvm.ptr
    llvm.store %2, %11 : i64, !llvm.ptr loc(#loc1)
    %12 = llvm.getelementptr %11[1] : (!llvm.ptr) -> !llvm.ptr, i64
    llvm.store %4, %12 : i64, !llvm.ptr loc(#loc1)
    %13 = llvm.alloca %1 x !llvm.array<2 x i64> : (i32) -> !llvm.ptr
    llvm.store %3, %13 : i64, !llvm.ptr loc(#loc1)
    %14 = llvm.getelementptr %13[1] : (!llvm.ptr) -> !llvm.ptr, i64
    llvm.store %1, %14 : i64, !llvm.ptr loc(#loc1)
    call @mosaic_gpu_init_tma_desc(%map, %10, %0, %2, %11, %13, %3, %11) : ()
    %15 = llvm.load %maps : !llvm.ptr -> !llvm.array<256 x i8> loc(#loc5)
    gpu.launch_func <%stream : !llvm.ptr> @kernel::@kernel blocks in (%2, %1, %1) \
threads in (%3, %1, %1) : i64 dynamic_shared_memory_size %4 \
args(%7 : !llvm.ptr, %15 : !llvm.array<256 x i8>) loc(#loc1)
"""
MAP = host.TensorMap(
    argument=2, element=2, sizes=(2, 32), strides=(64, 1), box=(2, 32),
    swizzle=64,
)  # fmt: skip


def test_a_launch_and_its_tensor_maps_are_those_of_the_host():
  assert host.read_launch(HOST) == host.Launch(
      grid=(2, 1, 1),
      threads=(64, 1, 1),
      shared_memory=32,
      parameters=(0, {128: MAP}),
  )


def test_the_same_is_read_of_what_jax_0_12_writes():
  later = HOST.replace(
      '    %maps = ',
      """\
    %a = llvm.extractvalue %10[1] : !llvm.struct<(ptr, ptr, i64)>
    %b = llvm.extractvalue %10[2] : !llvm.struct<(ptr, ptr, i64)>
    %c = llvm.mul %b, %2 : i64
    %d = llvm.ptrtoint %a : !llvm.ptr to i64
    %e = llvm.add %d, %c : i64
    %f = llvm.inttoptr %e : i64 to !llvm.ptr
    %maps = """,
  )
  later = later.replace('(%map, %10,', '(%map, %f,')
  later = later.replace(
      'llvm.store %4, %12 : i64, !llvm.ptr', 'memref.store %4, %11[%1] : memref'
  )
  assert host.read_launch(later) == host.read_launch(HOST)


@pytest.mark.parametrize(
    'before, after, message',
    [
        ('llvm.store %4', 'llvm.atomic %4', 'not modelled: llvm.atomic %4'),
        ('%8[1]', '%8[2]', 'only whole arrays'),
        ('constant(7', 'constant(77', '77 is no type of elements'),
        (HOST[HOST.index('    gpu.launch_func') :], '', 'launches nothing'),
        ('func.func', 'func', 'no code of the host'),
        ('    %0 = ', '  ^bb1:\n    %0 = ', r'not understood: \^bb1:'),
        ('threads in (%3, %1', 'threads in (%3, %2', r'are \(64, 2, 1\)'),
        (' threads in', ' clusters in (%2, %1, %1) threads in', 'clusters'),
    ],
)
def test_what_is_not_modelled_is_refused(before, after, message):
  with pytest.raises(ptx.Violation, match=message):
    host.read_launch(HOST.replace(before, after))


def test_elements_of_a_box_lie_where_the_strides_say():
  offsets, inside = MAP.elements([30, 1])  # the contiguous dimension first
  offsets, inside = offsets.reshape(2, 32), inside.reshape(2, 32)
  np.testing.assert_array_equal(offsets[0, :3], [188, 190, 192])
  np.testing.assert_array_equal(np.argwhere(inside), [[0, 0], [0, 1]])
