"""Branches, barriers, fences, and the reallocation of registers."""

import numpy as np

from ptx.errors import Violation
from ptx.warpgroup import LANES
from ptx.warpgroup import WARP


def _branch(group, label):
  group.branch(label)


def _return(group):
  if not group.mask.all():
    raise Violation('only some threads end')
  if not group.wgmma.idle:
    raise Violation('ends while a wgmma is in flight')
  if not all(stores.idle for stores in group.stores):
    raise Violation('ends while TMA may still read shared memory')
  group.finished = True


def _meet(group, number, threads=None):
  group.need_every_lane()
  number = group.uniform(number, np.uint32)
  if number > 15:
    raise Violation(f'a barrier must be one of 0 to 15, is {number}')
  if threads is None:
    threads = group.block.launch.threads[0]
  else:
    threads = group.uniform(threads, np.uint32)
  if threads % WARP or not threads:
    raise Violation(f'threads must be a multiple of {WARP}, are {threads}')
  barrier = group.block.named[number]
  if not barrier.meet(group, threads):
    return lambda: group in barrier.released
  return None


def _take_registers(group, count):
  _check_registers(group, count)
  block = group.block
  needed = (count - group.register_count) * LANES
  if needed < 0:
    raise Violation(f'has {group.register_count} registers already')
  if needed > block.free_registers:
    return lambda: needed <= block.free_registers
  block.free_registers -= needed
  group.register_count = count
  return None


def _give_registers(group, count):
  _check_registers(group, count)
  given = (group.register_count - count) * LANES
  if given < 0:
    raise Violation(f'has only {group.register_count} registers')
  group.block.free_registers += given
  group.register_count = count


def _check_registers(group, count):
  group.need_every_lane()
  if count % 8 or not 24 <= count <= 256:
    raise Violation(
        f'registers must be a multiple of 8 from 24 to 256, are {count}'
    )


def _make_mbarrier(group, address, count):
  if group.mask.sum() != 1:
    raise Violation('more than one thread makes this mbarrier')
  count, (warp,) = group.uniform(count, np.uint32), group.active_warps
  group.block.make_mbarrier(_one_address(group, address), count, warp)


def _arrive(group, state, address, count=1):
  del state
  if count != 1:
    raise Violation('only single arrivals are modelled')
  barrier = _mbarrier(group, address)
  for warp in group.active_warps:
    lanes = group.mask[group.warp_of_lane == warp].sum()
    barrier.arrive(warp, int(lanes))


def _arrive_and_expect(group, state, address, size):
  barrier = _mbarrier(group, address)
  sizes = group.read(size, np.uint32)[group.mask]
  barrier.expect(int(sizes.astype(np.int64).sum()))
  _arrive(group, state, address)


def _wait(group, target, address, parity, most_nanoseconds=None):
  del most_nanoseconds  # a wait never times out
  barrier = _mbarrier(group, address)
  parity = group.uniform(parity, np.uint32)
  if parity not in (0, 1):
    raise Violation(f'a parity must be 0 or 1, is {parity}')
  if not barrier.completed(parity):
    return lambda: barrier.completed(parity)
  for warp in group.active_warps:
    barrier.observe(warp)
  group.write(target, np.ones(LANES, bool))
  return None


def _mbarrier(group, address):
  address = _one_address(group, address)
  return group.block.mbarrier(address, group.active_warps)


def _one_address(group, address):
  addresses = group.addresses(address)[group.mask]
  if (addresses != addresses[0]).any():
    raise Violation('threads name different mbarriers')
  return int(addresses[0])


def _fence_proxy(group):
  for warp in group.active_warps:
    group.block.ordering.fence(warp)


INSTRUCTIONS = {
    'bra': _branch,
    'bra.uni': _branch,
    'ret': _return,
    'bar.sync': _meet,
    'setmaxnreg.inc.sync.aligned.u32': _take_registers,
    'setmaxnreg.dec.sync.aligned.u32': _give_registers,
    **dict.fromkeys(
        ('mbarrier.init.shared::cta.b64', 'mbarrier.init.shared.b64'),
        _make_mbarrier,
    ),
    'mbarrier.arrive.release.cta.shared::cta.b64': _arrive,
    **dict.fromkeys(
        (
            'mbarrier.arrive.expect_tx.shared.b64',
            'mbarrier.arrive.expect_tx.release.cta.shared::cta.b64',
        ),
        _arrive_and_expect,
    ),
    'mbarrier.try_wait.parity.shared.b64': _wait,
    'fence.proxy.async.shared::cta': _fence_proxy,
    # On the hardware this fence is weaker: only for the thread's own mbarriers.
    'fence.mbarrier_init.release.cluster': _fence_proxy,
}
