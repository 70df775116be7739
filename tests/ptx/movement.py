"""Moves data between registers, lanes of a warp, shared and global memory."""

import numpy as np

from ptx.arithmetic import TYPES
from ptx.code import Symbol
from ptx.errors import Violation
from ptx.memory import GLOBAL
from ptx.memory import SHARED
from ptx.warpgroup import LANES
from ptx.warpgroup import WARP

_HALF = {'b32': 'b16', 'b64': 'b32'}
_LANE = np.arange(LANES) % WARP
_FIRST_OF_WARP = np.arange(LANES) - _LANE


def _move(kind):
  """Copies a register, or joins or splits its halves."""

  def run(group, target, source):
    if isinstance(source, tuple):
      low, high = (group.read(x, TYPES[_HALF[kind]]) for x in source)
      low, high = low.astype(TYPES[kind]), high.astype(TYPES[kind])
      bits = TYPES[kind].type(4 * TYPES[kind].itemsize)
      group.write(target, low | high << bits)
    elif isinstance(target, tuple):
      value, half = group.read(source, TYPES[kind]), TYPES[_HALF[kind]]
      bits = TYPES[kind].type(8 * half.itemsize)
      for part, bits_of in zip(target, (value, value >> bits)):
        group.write(part, bits_of.astype(half))
    else:
      group.write(target, group.read(source, TYPES[kind]))

  return run


def _move_predicate(group, target, source):
  group.write(target, group.read(source, bool))


def _load(kind, space):
  dtype = TYPES[kind]

  def run(group, targets, address):
    targets = targets if isinstance(targets, tuple) else (targets,)
    data = _read(group, address, space, len(targets) * dtype.itemsize)
    for target, column in zip(targets, data.view(dtype).T):
      value = np.zeros(LANES, dtype)
      value[group.mask] = column
      group.write(target, value)

  return run


def _store(kind, space):
  dtype = TYPES[kind]

  def run(group, address, sources):
    sources = sources if isinstance(sources, tuple) else (sources,)
    columns = [group.read(x, dtype)[group.mask] for x in sources]
    data = np.ascontiguousarray(np.stack(columns, axis=1)).view(np.uint8)
    addresses = group.addresses(address)[group.mask]
    if _is_shared(addresses, space):
      warps = group.warp_of_lane[group.mask]
      group.block.store_shared(warps, addresses, data)
    else:
      group.block.memory.store(addresses, data)

  return run


def _read(group, address, space, size):
  """The bytes [n, size] that the executing lanes read."""
  addresses = group.addresses(address)[group.mask]
  if _is_shared(addresses, space):
    warps = group.warp_of_lane[group.mask]
    return group.block.load_shared(warps, addresses, size)
  return group.block.memory.load(addresses, size)


def _is_shared(addresses, space):
  inside = (addresses >= SHARED) & (addresses < GLOBAL)
  if inside.any() != inside.all():
    raise Violation('some addresses are in shared memory, others are not')
  if space and (space == 'shared') != inside.all():
    raise Violation(f'an address is not in {space} memory')
  return bool(inside.all())


def _load_parameter(group, target, address):
  symbol = address.base
  if not isinstance(symbol, Symbol) or symbol.parameter is None:
    raise Violation('only whole parameters are modelled')
  value = group.block.launch.parameters[symbol.parameter]
  if not isinstance(value, int):
    raise Violation('this parameter is no address of an argument')
  address = group.block.memory.address(value)
  group.write(target, np.full(LANES, address, np.uint64))


def _same(group, target, source):
  group.write(target, group.read(source, np.uint64))


def _rows(group, address, matrices):
  """The addresses of each lane's two elements of each matrix, [matrices, 128].

  Lanes 8 i to 8 i + 7 of a warp have the addresses of the rows of its i-th
  matrix, 8 rows of 16 bytes. Lane l has elements 2 (l % 4) of row l / 4.
  """
  starts = group.addresses(address)
  if (starts % 16).any():
    raise Violation('a row does not start at a multiple of 16 bytes')
  holders = _FIRST_OF_WARP + 8 * np.arange(matrices)[:, None] + _LANE // 4
  return starts[holders] + 4 * (_LANE % 4)


def _load_matrices(group, targets, address):
  group.need_every_lane()
  for target, addresses in zip(targets, _rows(group, address, len(targets))):
    data = group.block.load_shared(group.warp_of_lane, addresses, 4)
    group.write(target, data.view(np.uint32)[:, 0])


def _store_matrices(group, address, sources):
  group.need_every_lane()
  for source, addresses in zip(sources, _rows(group, address, len(sources))):
    data = np.ascontiguousarray(group.read(source, np.uint32)[:, None])
    group.block.store_shared(group.warp_of_lane, addresses, data.view(np.uint8))


def _shuffle(lane_of):
  """The value of another lane of the warp."""

  def run(group, target, source, distance, clamp, lanes):
    group.need_every_lane()
    if (group.uniform(clamp, np.int32), group.uniform(lanes, np.int32)) != (
        31,
        -1,
    ):
      raise Violation('only whole warps are modelled')
    value = group.read(source, np.uint32)
    other = lane_of(_LANE, group.read(distance, np.uint32).astype(int))
    if isinstance(target, tuple):
      target, inside = target
      group.write(inside, np.ones(LANES, bool))
    group.write(target, value[_FIRST_OF_WARP + other])

  return run


def _elect(group, target, lanes):
  """Chooses the first lane of each warp."""
  group.need_every_lane()
  if group.uniform(lanes, np.int32) != -1:
    raise Violation('only whole warps are modelled')
  leader, is_leader = target
  group.write(leader, np.zeros(LANES, np.uint32))
  group.write(is_leader, _LANE == 0)


_VECTORS = '', '.v2', '.v4'
_ELEMENTS = 'b16', 'b32', 'b64'

INSTRUCTIONS = {
    **{f'mov.{kind}': _move(kind) for kind in ('b16', 'b32', 'b64')},
    'mov.u32': _move('b32'),
    'mov.pred': _move_predicate,
    **{
        f'ld{space}{vector}.{kind}': _load(kind, space[1:])
        for space in ('', '.global', '.shared')
        for vector in _VECTORS
        for kind in _ELEMENTS
    },
    **{
        f'st{space}{vector}.{kind}': _store(kind, space[1:])
        for space in ('', '.global', '.shared')
        for vector in _VECTORS
        for kind in _ELEMENTS
    },
    'ld.param::entry.b64': _load_parameter,
    'cvta.to.global.u64': _same,
    'cvta.param.u64': _same,
    **{
        f'ldmatrix.sync.aligned.m8n8.x{n}.shared.b16': _load_matrices
        for n in (2, 4)
    },
    **{
        f'stmatrix.sync.aligned.m8n8.x{n}.shared.b16': _store_matrices
        for n in (2, 4)
    },
    'shfl.sync.idx.b32': _shuffle(lambda lane, n: n % WARP),
    'shfl.sync.bfly.b32': _shuffle(lambda lane, n: (lane ^ n) % WARP),
    'elect.sync': _elect,
}
