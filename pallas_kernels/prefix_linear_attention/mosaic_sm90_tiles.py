"""The tunable settings of the Hopper kernels, and where their values come from.

They come from an explicit argument, else from the table of the device or of a
similar one (see `pallas_kernels.tiles`), else from the defaults of the classes.
The defaults were chosen by compiling for the H100: no serialised wgmma, and the
fewest spills.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax

from pallas_kernels import tiles
from pallas_kernels.prefix_linear_attention.mosaic_sm90_backward import BackwardConfig
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE
from pallas_kernels.prefix_linear_attention.mosaic_sm90_devices import OPERATION
from pallas_kernels.prefix_linear_attention.mosaic_sm90_forward import ForwardConfig

_PROCESSORS = 132  # of an H100 SXM and an H200; used if the number is unknown


@dataclasses.dataclass(frozen=True)
class Tiles:
  """All tunable settings; ValueError if the hardware does not support them.

  Attributes:
    forward: settings of the forward kernel.
    backward: settings of the backward kernels.
    segment_chunks: the fewest chunks of 128 tokens in a segment. A long
      sequence is split into segments if there are too few rows and heads for
      the device.
  """

  forward: ForwardConfig = ForwardConfig()
  backward: BackwardConfig = BackwardConfig()
  segment_chunks: int = 8

  def __post_init__(self):
    if self.segment_chunks < 1:
      raise ValueError(
          f'segment_chunks must be at least 1, got {self.segment_chunks}'
      )

  def segments(self, *, B: int, H: int, V: int, L: int) -> int:
    """The number of segments of a sequence, so that they fill the device."""
    programs = B * H * -(-V // VALUE_TILE)
    most = -(-L // CHUNK) // self.segment_chunks
    return max(min(_processors() // programs, most), 1)

  def entry(self) -> dict[str, Any]:
    """The entry of a table, as JSON."""
    return dataclasses.asdict(self)

  @classmethod
  def from_entry(cls, entry: Mapping[str, Any]) -> 'Tiles':
    """The inverse of `entry`."""
    configs = {'forward': ForwardConfig, 'backward': BackwardConfig}
    return cls(
        segment_chunks=entry['segment_chunks'],
        **{
            name: config(**{k: _tuples(x) for k, x in entry[name].items()})
            for name, config in configs.items()
        },
    )


def choose(V: int) -> Tiles:
  """The tiles for heads of V values on the first device."""
  table = tiles.for_device(OPERATION, jax.devices()[0])
  entry = table and table.entries.get(f'V{V}')
  return Tiles.from_entry(entry) if entry else Tiles()


def _processors():
  """The number of programs that the device runs at once: one on each processor.

  An H100 PCIe has 114, an H20 78, and a part of a GPU (MIG) fewer.
  """
  return getattr(jax.devices()[0], 'core_count', None) or _PROCESSORS


def _tuples(x):
  return tuple(x) if isinstance(x, list) else x
