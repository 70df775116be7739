"""Launches kernels for Hopper; their rings of buffers."""

import functools
import types

from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.prefix_linear_attention import mosaic_sm90_blocks as blocks
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import BF16
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import D
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import I32
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import NUM_FEATURES
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import ROWS
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE

SQUARE = ROWS, ROWS
VALUES = ROWS, VALUE_TILE
KEYS = ROWS, D
STATE = VALUE_TILE, NUM_FEATURES


def launch(
    body,
    grid,
    inputs,
    outputs,
    scratch,
    *,
    tiles,
    threads,
    interpret,
    compiler_params=None,
):
  """Runs `body(p)` in every program and returns the outputs.

  `p` has the arrays of `inputs`, `outputs` and `scratch` by name, and the
  position in the grid, whose last axis is the tile of values.
  """
  grid = grid | {'tile': tiles}

  def kernel(*refs, **scratch):
    arrays = dict(zip([*inputs, *outputs], refs))
    p = types.SimpleNamespace(**arrays, **scratch)
    for axis in (*grid, 'warpgroup'):
      setattr(p, axis, lax.axis_index(axis))
    p.columns = pl.ds(p.tile * VALUE_TILE, VALUE_TILE)
    p.emulate = interpret is not None
    p.mma = functools.partial(blocks.mma, p.emulate)
    body(p)

  kernel.__name__ = f'prefix_linear_attention_{body.__name__}'
  return plgpu.kernel(
      kernel,
      out_type=tuple(outputs.values()),
      scratch_types=scratch,
      grid=tuple(grid.values()),
      grid_names=tuple(grid),
      num_threads=threads,
      thread_name='warpgroup',
      compiler_params=compiler_params,
      **({} if interpret is None else {'interpret': interpret}),
  )(*inputs.values())


def run_roles(p, registers, producer, state, rows):
  """Gives the four warpgroups of a program their roles."""
  few, many, rest = registers

  @pl.when(p.warpgroup == 3)
  def _():
    plgpu.set_max_registers(few, action='decrease')
    producer(p)

  @pl.when(p.warpgroup == 0)
  def _():
    plgpu.set_max_registers(many, action='increase')
    state(p)

  for half in range(2):

    @pl.when(p.warpgroup == 1 + half)
    def _(half=half):
      plgpu.set_max_registers(rest, action='increase')
      rows(p, half)

  plgpu.barrier_arrive(p.finish)
  plgpu.barrier_wait(p.finish)


def buffers(V):
  """Constructors of bfloat16 buffers: plain ones, and for tiles of values.

  If the last tile is not full, TMA clips it by whole units of the swizzle. Both
  operands of a wgmma must have the same swizzle.
  """
  transforms = ()
  if V % VALUE_TILE:
    transforms = plgpu.TilingTransform((8, 16)), plgpu.SwizzleTransform(32)
  plain = lambda *shape: plgpu.SMEM(shape, BF16)
  tiled = lambda *shape: plgpu.SMEM(shape, BF16, transforms=transforms)
  return plain, tiled


def ring(i, size):
  """The index of the buffer, of `size`, that the i-th chunk uses."""
  return lax.rem(i, I32(size))


def traced_zero(p):
  """A Python number does not lower as an index of a buffer here."""
  return p.row * 0


def drain(barrier, count, size):
  """Waits for the last phases of a ring that `count` chunks have used."""

  def wait(i, _):
    plgpu.barrier_wait(barrier.at[ring(i, size)])

  lax.fori_loop(lax.max(count - I32(size), I32(0)), count, wait, None)
