"""Matrix products of a warpgroup on the tensor cores (wgmma).

Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
"""

import functools

import numpy as np

from pallas_kernels.ptx.conversions import BFLOAT16
from pallas_kernels.ptx.conversions import unpack
from pallas_kernels.ptx.errors import Violation
from pallas_kernels.ptx.memory import swizzle
from pallas_kernels.ptx.warpgroup import LANES

_M, _K = 64, 16
_WIDTHS = range(8, 257, 8)
_SWIZZLES = {0: 0, 1: 128, 2: 64, 3: 32}
_LANE, _WARP = np.arange(LANES) % 32, np.arange(LANES) // 32
_ROW, _COLUMN = 16 * _WARP + _LANE // 4, 2 * (_LANE % 4)


def _multiply(N):
  """D = A Bᵀ + D with A [64, 16] and B [N, 16] of bfloat16, D of float32."""

  def run(group, accumulators, a, b, *flags):
    if len(accumulators) != N // 2:
      raise Violation(f'{len(accumulators)} accumulators, not {N // 2}')
    in_registers = isinstance(a, tuple)
    scale_d, scale_a, scale_b, *transposed = flags
    if in_registers:
      transposed = [0, *transposed]
    if len(transposed) != 2 or (scale_a, scale_b) != (1, 1):
      raise Violation('only products without scales are modelled')
    _check_registers(group, accumulators, a if in_registers else ())
    reads = [_operand(group, b, N, transposed[1])]
    if not in_registers:
      reads.append(_operand(group, a, _M, transposed[0]))
    else:
      fragments = [group.read(x, np.uint32).copy() for x in a]
      group.sources.update(a)
    accumulate = bool(group.uniform(scale_d, bool))
    units = [
        group.block.ordering.begin_read(group.warps, places) for places in reads
    ]
    group.accumulators.update(accumulators)

    def compute():
      b, *rest = (_values(group, places) for places in reads)
      a = rest[0] if rest else _from_fragments(fragments)
      _accumulate(group, accumulators, a @ b.T, accumulate)

    def end():
      if group.block.late:
        compute()
      for places in units:
        group.block.ordering.end_read(group.warps, places)

    if not group.block.late:
      compute()
    group.wgmma.add(end)

  return run


def _check_registers(group, accumulators, sources):
  if not group.mask.all():
    raise Violation('needs all threads of the warpgroup')
  if unfenced := group.unfenced.intersection([*accumulators, *sources]):
    raise Violation(f'no wgmma.fence since {min(unfenced)} was written')
  if group.accumulators.intersection(sources):
    raise Violation('reads registers that a wgmma in flight writes')


def _operand(group, descriptor, rows, transposed):
  """Offsets [rows, 16, 2] in shared memory of the bytes of an operand."""
  if transposed not in (0, 1):
    raise Violation(f'{transposed} is no flag of transposition')
  descriptor = group.uniform(descriptor, np.uint64)
  addresses = _addresses(descriptor, rows, bool(transposed))
  return group.block.shared.locate(addresses, BFLOAT16.itemsize)


@functools.lru_cache(1024)
def _addresses(descriptor, rows, transposed):
  """Where a matrix descriptor finds the elements of an operand [rows, 16].

  Elements lie in cores of 8 rows of 16 bytes without a swizzle, and otherwise in
  cores of 8 rows of as many bytes as the swizzle is wide. A row has neighbours
  in K, and in M or N if the operand is transposed.
  """
  field = lambda bit: (descriptor >> bit & 0x3FFF) << 4
  start, leading, stride = field(0), field(16), field(32)
  width = _SWIZZLES[descriptor >> 62]
  if descriptor >> 49 & 7:
    raise Violation('a base offset is not modelled')
  row, k = np.arange(rows)[:, None], np.arange(_K)
  if not width and not transposed:
    offsets = row % 8 * 16 + row // 8 * stride + k % 8 * 2 + k // 8 * leading
  elif not width:
    offsets = row % 8 * 2 + row // 8 * leading + k % 8 * 16 + k // 8 * stride
  elif not transposed:
    offsets = row % 8 * width + row // 8 * stride + k * 2
  else:
    across, offset = np.divmod(row, width // 2)
    offsets = offset * 2 + across * leading + k % 8 * width + k // 8 * stride
  return swizzle(start + offsets, width)


def _values(group, places):
  data = group.block.shared.bytes[places]
  return data.view(BFLOAT16)[..., 0].astype(np.float64)


def _from_fragments(words):
  """A [64, 16] of four registers with two elements each."""
  a = np.zeros((_M, _K))
  for i, word in enumerate(words):
    row, column = _ROW + 8 * (i % 2), _COLUMN + 8 * (i // 2)
    a[row, column], a[row, column + 1] = unpack(word)
  return a


def _accumulate(group, accumulators, product, accumulate):
  """Adds, and rounds once; how tensor cores round on their way is unknown."""
  for i, name in enumerate(accumulators):
    row, column = _ROW + 8 * (i // 2 % 2), _COLUMN + i % 2 + 8 * (i // 4)
    value = product[row, column]
    if accumulate:
      value = value + group.registers[name].view(np.float32)
    with np.errstate(all='ignore'):
      group.registers[name] = value.astype(np.float32).view(np.uint32)


def _fence(group):
  group.unfenced.clear()


def _commit(group):
  group.wgmma.commit()


def _wait(group, remaining):
  group.wgmma.wait(remaining)
  if group.wgmma.idle:
    group.accumulators.clear()
    group.sources.clear()


INSTRUCTIONS = {
    **{
        f'wgmma.mma_async.sync.aligned.m64n{N}k16.f32.bf16.bf16': _multiply(N)
        for N in _WIDTHS
    },
    'wgmma.fence.sync.aligned': _fence,
    'wgmma.commit_group.sync.aligned': _commit,
    'wgmma.wait_group.sync.aligned': _wait,
}
