"""Copies by TMA, the unit that moves tiles between global and shared memory."""

import numpy as np

from ptx.errors import Violation
from ptx.host import TensorMap
from ptx.memory import swizzle
from ptx.warpgroup import PARAMETER_SIZE
from ptx.warpgroup import PARAMETERS

_ALIGNMENT = 128  # of a tile in shared memory, bytes


def _lanes(group):
  return np.flatnonzero(group.mask)


def _tensor_map(group, address, lane) -> TensorMap:
  where = int(group.addresses(address)[lane]) - PARAMETERS
  parameter, offset = divmod(where, PARAMETER_SIZE)
  parameters = group.block.launch.parameters
  maps = parameters[parameter] if 0 <= parameter < len(parameters) else None
  if not isinstance(maps, dict) or offset not in maps:
    raise Violation(f'there is no tensor map {offset} in parameter {parameter}')
  return maps[offset]


def _tile(group, address, start, lane):
  """The addresses of a copy.

  Returns:
    Which elements are inside the array, their addresses, the addresses of all
    elements in shared memory, and the bytes of an element.
  """
  tensor_map = _tensor_map(group, address, lane)
  coordinates = [
      int(group.read(x, np.int32)[lane]) for x in address.coordinates
  ]
  start = int(group.addresses(start)[lane])
  if start % _ALIGNMENT:
    raise Violation(
        f'a tile does not start at a multiple of {_ALIGNMENT} bytes'
    )
  element = tensor_map.element
  row = tensor_map.box[-1] * element
  if tensor_map.swizzle > 16 and row != tensor_map.swizzle:
    raise Violation(
        f'rows of {row} bytes in a swizzle of {tensor_map.swizzle} are not modelled'
    )
  offsets, inside = tensor_map.elements(coordinates)
  memory = group.block.memory
  starts = memory.address(tensor_map.argument) + offsets[inside]
  if inside.any():
    memory.locate(starts, element)  # or the map goes beyond its argument
  addresses = start + np.arange(len(offsets)) * element
  return inside, starts, swizzle(addresses, tensor_map.swizzle), element


def _to_shared(group, target, source, barrier):
  for lane in _lanes(group):
    _copy_to_shared(group, target, source, barrier, lane)


def _copy_to_shared(group, target, source, barrier, lane):
  block = group.block
  inside, starts, addresses, element = _tile(group, source, target, lane)
  warp = int(group.warp_of_lane[lane])
  address = int(group.addresses(barrier)[lane])
  barrier = block.mbarrier(address, [warp], by_tma=True)
  offsets = block.shared.locate(addresses, element)
  block.ordering.tma_write(warp, offsets, barrier.number, barrier.phases + 1)

  def copy():
    data = np.zeros(offsets.shape, np.uint8)  # elements outside are 0
    if inside.any():
      data[inside] = block.memory.load(starts, element)
    block.shared.bytes[offsets] = data
    barrier.receive(offsets.size)

  block.deliver(copy)


def _to_global(group, target, source):
  for lane in _lanes(group):
    _copy_to_global(group, target, source, lane)


def _copy_to_global(group, target, source, lane):
  block = group.block
  inside, starts, addresses, element = _tile(group, target, source, lane)
  offsets = block.shared.locate(addresses, element)
  _add_store(group, lane, offsets, starts, inside)


def _bulk_to_global(group, target, source, size):
  """Copies a row of bytes, without a tensor map."""
  for lane in _lanes(group):
    start = int(group.addresses(source)[lane])
    to = int(group.addresses(target)[lane])
    count = int(group.read(size, np.uint32)[lane])
    if start % 16 or to % 16 or count % 16:
      raise Violation(
          'a bulk copy must have addresses and a size of multiples of 16 bytes,'
          f' has {start:#x}, {to:#x} and {count}'
      )
    offsets = group.block.shared.locate(start + np.arange(count), 1)
    starts = to + np.arange(count)
    group.block.memory.locate(starts, 1)
    _add_store(group, lane, offsets, starts, np.ones(count, bool))


def _add_store(group, lane, offsets, starts, inside):
  """Reads shared memory now, or at the wait for the copy."""
  block, warp = group.block, int(group.warp_of_lane[lane])
  units = block.ordering.begin_read(range(warp, warp + 1), offsets)

  def copy():
    if inside.any():
      block.memory.store(starts, block.shared.bytes[offsets][inside])

  def end():
    if block.late:
      copy()
    block.ordering.end_read(range(warp, warp + 1), units)

  if not block.late:
    copy()
  group.stores[lane].add(end)


def _commit(group):
  for lane in _lanes(group):
    group.stores[lane].commit()


def _wait(group, remaining):
  for lane in _lanes(group):
    group.stores[lane].wait(remaining)


_DIMENSIONS = range(1, 6)

INSTRUCTIONS = {
    **{
        f'cp.async.bulk.tensor.{n}d.shared::{where}.global'
        '.mbarrier::complete_tx::bytes': _to_shared
        for n in _DIMENSIONS
        for where in ('cluster', 'cta')
    },
    **{
        f'cp.async.bulk.tensor.{n}d.global.shared::cta.bulk_group': _to_global
        for n in _DIMENSIONS
    },
    'cp.async.bulk.global.shared::cta.bulk_group': _bulk_to_global,
    'cp.async.bulk.commit_group': _commit,
    'cp.async.bulk.wait_group': _wait,
    'cp.async.bulk.wait_group.read': _wait,
}
