"""Where wgmma finds its operands: all of a product of random integers."""

import jax.numpy as jnp
import numpy as np
import pytest

from ptx.memory import SHARED

M, N, K = 64, 72, 16
B_START = 8192  # in shared memory, after A
SIZE = 32768

# From the ISA's table of canonical layouts, for elements of 2 bytes: the swizzle
# in bytes, whether M or N is contiguous instead of K, the leading and the stride
# offset in elements, and then sizes and strides of M or N, and of K.
LAYOUTS = [
    (0, 0, 64, 128, [(8, 8), (9, 128)], [(8, 1), (2, 64)]),
    (32, 0, 8, 128, [(8, 16), (9, 128)], [(16, 1)]),
    (64, 0, 8, 256, [(8, 32), (9, 256)], [(16, 1)]),
    (128, 0, 8, 512, [(8, 64), (9, 512)], [(16, 1)]),
    (0, 1, 64, 128, [(8, 1), (9, 128)], [(8, 8), (2, 64)]),
    (32, 1, 256, 128, [(16, 1), (5, 256)], [(8, 16), (2, 128)]),
    (64, 1, 512, 256, [(32, 1), (3, 512)], [(8, 32), (2, 256)]),
    (128, 1, 1024, 512, [(64, 1), (2, 1024)], [(8, 64), (2, 512)]),
]
MODES = {0: 0, 128: 1, 64: 2, 32: 3}  # of a swizzle, in a descriptor

# 16 bytes at a time from the input to shared memory.
COPY = """
mul.wide.u32 %at, %thread, 12;
add.s64 %in, %out, %at;
sub.s64 %in, %in, 68719476736;
mul.wide.u32 %at, %thread, 16;
add.s64 %a, %shared, %at;
""" + ''.join(
    f"""
    ld.global.v4.b32 {{%w0, %w1, %w2, %w3}}, [%in+{i}];
    st.shared.v4.b32 [%a+{i}], {{%w0, %w1, %w2, %w3}};
    """ for i in range(0, SIZE, 2048)
)
# Each thread has four words of A behind what is copied.
LOAD_A = f'ld.global.v4.b32 {{%a0, %a1, %a2, %a3}}, [%in+{SIZE}];'
FIVE = ''.join(f'mov.b32 %d{i}, 0f40A00000;' for i in range(N // 2))
RESULT = ''.join(
    f'st.global.b32 [%out+{512 * i}], %d{i};' for i in range(N // 2)
)


def multiply(a, b, *flags, accumulate):
  accumulators = ', '.join(f'%d{i}' for i in range(N // 2))
  return f"""
      setp.eq.s32 %accumulate, {int(accumulate)}, 1;
      fence.proxy.async.shared::cta;
      bar.sync 0;
      wgmma.fence.sync.aligned;
      wgmma.mma_async.sync.aligned.m64n{N}k16.f32.bf16.bf16
          {{{accumulators}}}, {a}, {b}, %accumulate, {', '.join(map(str, flags))};
      wgmma.commit_group.sync.aligned;
      wgmma.wait_group.sync.aligned 0;
      """


def random_matrix(rows, seed):
  values = np.random.default_rng(seed).integers(-8, 9, (rows, K))
  return values.astype(jnp.bfloat16)  # exactly


def along(modes, count):
  """Offsets of so many elements, by sizes and strides."""
  index, offsets = np.arange(count), 0
  for size, stride in modes:
    offsets = offsets + index % size * stride
    index = index // size
  return offsets


def place(memory, start, matrix, layout):
  """Writes a matrix [rows, K] to memory, and returns its descriptor."""
  width, _, leading, stride, rows, columns = layout
  offsets = along(rows, len(matrix))[:, None] + along(columns, K)
  offsets = start + 2 * offsets
  if width:  # the number of a row of 128 bytes is added, bit by bit
    offsets ^= (offsets >> 7 & width // 16 - 1) << 4
  memory.view(jnp.bfloat16)[offsets // 2] = matrix
  return (
      SHARED + start >> 4
      | 2 * leading >> 4 << 16
      | 2 * stride >> 4 << 32
      | MODES[width] << 62
  )


def product(registers):
  """D [M, N] of the registers [N / 2, 128] of all threads."""
  d = np.zeros((M, N), np.float32)
  lane, warp = np.arange(128) % 32, np.arange(128) // 32
  for i, values in enumerate(registers.view(np.float32)):
    row = 16 * warp + lane // 4 + i // 2 % 2 * 8
    d[row, i // 4 * 8 + lane % 4 * 2 + i % 2] = values
  return d


@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_product_reads_both_operands_in_every_layout(run, layout):
  a, b = random_matrix(M, seed=0), random_matrix(N, seed=1)
  memory = np.zeros(SIZE, np.uint8)
  descriptors = [place(memory, *x, layout) for x in [(0, a), (B_START, b)]]
  flags = 1, 1, layout[1], layout[1]
  result = run(
      COPY + FIVE + multiply(*descriptors, *flags, accumulate=True) + RESULT,
      inputs=[memory],
      shared_memory=SIZE,
      words=N // 2,
  )
  expected = a.astype(np.float32) @ b.astype(np.float32).T + 5
  np.testing.assert_array_equal(product(result.reshape(N // 2, 128)), expected)


@pytest.mark.parametrize('late', [False, True])
def test_a_product_reads_a_from_registers_and_need_not_add(run, late):
  a, b = random_matrix(M, seed=2), random_matrix(N, seed=3)
  memory = np.zeros(SIZE, np.uint8)
  descriptor = place(memory, B_START, b, LAYOUTS[0])
  lane, warp = np.arange(128) % 32, np.arange(128) // 32
  row, column = 16 * warp + lane // 4, lane % 4 * 2
  words = [  # each thread has 4 pairs of neighbours in K
      a[row + 8 * i, column + 8 * j + half]
      for j in range(2)
      for i in range(2)
      for half in range(2)
  ]
  words = np.ascontiguousarray(np.stack(words, axis=1)).view(np.uint8)
  flags = 1, 1, 0
  source = '{%a0, %a1, %a2, %a3}'
  result = run(
      COPY
      + LOAD_A
      + FIVE
      + multiply(source, descriptor, *flags, accumulate=False)
      + RESULT,
      inputs=[np.concatenate([memory, words.reshape(-1)])],
      shared_memory=SIZE,
      words=N // 2,
      late=late,
  )
  np.testing.assert_array_equal(
      product(result.reshape(N // 2, 128)),
      a.astype(np.float32) @ b.astype(np.float32).T,
  )
