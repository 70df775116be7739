"""Matrix products of a warpgroup on the tensor cores (wgmma).

Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
"""

import numpy as np

from ptx.conversions import BFLOAT16
from ptx.conversions import unpack
from ptx import descriptors
from ptx.errors import Violation
from ptx.warpgroup import LANES

_M, _K = 64, descriptors.K
_WIDTHS = range(8, 257, 8)
_LANE, _WARP = np.arange(LANES) % 32, np.arange(LANES) // 32
_ROW, _COLUMN = 16 * _WARP + _LANE // 4, 2 * (_LANE % 4)


def _multiply(N):
  """D = A Bᵀ + D with A [64, 16] and B [N, 16] of bfloat16, D of float32."""

  def run(group, accumulators, a, b, scale_d, scale_a, scale_b, *transposed):
    if len(accumulators) != N // 2:
      raise Violation(f'{len(accumulators)} accumulators, not {N // 2}')
    if (scale_a, scale_b) != (1, 1):
      raise Violation('only products without scales are modelled')
    product = _Product(group, accumulators, a if isinstance(a, tuple) else ())
    if product.sources:
      product.words = [group.read(x, np.uint32).copy() for x in a]
    else:
      product.a = _operand(group, a, _M, transposed[0])
    product.b = _operand(group, b, N, transposed[-1])
    product.accumulate = bool(group.uniform(scale_d, bool))
    known = group.registers.keys() | group.accumulators
    if product.accumulate and (unknown := set(accumulators) - known):
      raise Violation(f'reads {min(unknown)}, which was never written')
    product.begin()
    group.wgmma.add(product.end)

  return run


class _Product:
  """A product, from its issue until a wait for it.

  Attributes:
    accumulators: the names of the registers of D.
    sources: the names of the registers of A, if it is not in shared memory.
    words: their values.
    a, b: the offsets of the operands' bytes in shared memory.
    accumulate: whether D is added.
  """

  def __init__(self, group, accumulators, sources):
    self.group = group
    self.accumulators, self.sources = accumulators, sources
    self.words: list[np.ndarray] | None = None
    self.a, self.b, self.accumulate = None, None, True
    group.need_every_lane()
    if unfenced := group.unfenced.intersection([*accumulators, *sources]):
      raise Violation(f'no wgmma.fence since {min(unfenced)} was written')
    if group.accumulators.intersection(sources):
      raise Violation('reads registers that a wgmma in flight writes')

  def begin(self):
    """Computes the product at once, unless operations are late."""
    group = self.group
    operands = [x for x in (self.a, self.b) if x is not None]
    self.units = [
        group.block.ordering.begin_read(group.warps, x) for x in operands
    ]
    group.products.append(self)
    _lock_registers(group)
    if not group.block.late:
      self.compute()

  def end(self):
    """Ends the product; products end in order."""
    group = self.group
    if group.block.late:
      self.compute()
    for units in self.units:
      group.block.ordering.end_read(group.warps, units)
    group.products.remove(self)

  def compute(self):
    registers, shared = self.group.registers, self.group.block.shared
    a = _fragments(self.words) if self.sources else _values(shared, self.a)
    product = a @ _values(shared, self.b).T
    for i, name in enumerate(self.accumulators):
      row, column = _ROW + 8 * (i // 2 % 2), _COLUMN + i % 2 + 8 * (i // 4)
      value = product[row, column]
      if self.accumulate:
        value = value + registers[name].view(np.float32)
      # Rounded once; the rounding inside tensor cores is not documented.
      with np.errstate(all='ignore'):
        registers[name] = value.astype(np.float32).view(np.uint32)


def _operand(group, descriptor, rows, transposed):
  """Offsets [rows, 16, 2] in shared memory of the bytes of an operand."""
  if transposed not in (0, 1):
    raise Violation(f'{transposed} is no flag of transposition')
  addresses = descriptors.addresses(
      group.uniform(descriptor, np.uint64), rows, bool(transposed)
  )
  return group.block.shared.locate(addresses, BFLOAT16.itemsize)


def _values(shared, offsets):
  data = shared.bytes[offsets]
  return data.view(BFLOAT16)[..., 0].astype(np.float64)


def _fragments(words):
  """A [64, 16] of four registers with two elements each."""
  a = np.zeros((_M, _K))
  for i, word in enumerate(words):
    row, column = _ROW + 8 * (i % 2), _COLUMN + 8 * (i // 2)
    a[row, column], a[row, column + 1] = unpack(word)
  return a


def _fence(group):
  group.need_every_lane()
  group.unfenced.clear()


def _commit(group):
  group.need_every_lane()
  group.wgmma.commit()


def _wait(group, remaining):
  group.need_every_lane()
  group.wgmma.wait(remaining)
  _lock_registers(group)


def _lock_registers(group):
  """Locks the registers of products in flight against other accesses."""
  written = (product.accumulators for product in group.products)
  read = (product.sources for product in group.products)
  group.accumulators, group.sources = set().union(*written), set().union(*read)


INSTRUCTIONS = {
    **{
        f'wgmma.mma_async.sync.aligned.m64n{N}k16.f32.bf16.bf16': _multiply(N)
        for N in _WIDTHS
    },
    'wgmma.fence.sync.aligned': _fence,
    'wgmma.commit_group.sync.aligned': _commit,
    'wgmma.wait_group.sync.aligned': _wait,
}
