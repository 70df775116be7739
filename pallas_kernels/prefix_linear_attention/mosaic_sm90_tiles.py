"""What can be tuned of the Hopper kernels, and where its values come from.

An explicit argument wins, then the table of the device or a near relative, see
`pallas_kernels.tiles`, then the defaults of the classes, which were chosen by
compiling for the H100: no serialised wgmma, and the fewest spills.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax

from pallas_kernels import tiles
from pallas_kernels.prefix_linear_attention.mosaic_sm90_backward import BackwardConfig
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import CHUNK
from pallas_kernels.prefix_linear_attention.mosaic_sm90_blocks import VALUE_TILE
from pallas_kernels.prefix_linear_attention.mosaic_sm90_forward import ForwardConfig

OPERATION = 'prefix_linear_attention'  # the folder of its tables

_PROCESSORS = 132  # of an H100 SXM and of an H200, where none are known


@dataclasses.dataclass(frozen=True)
class Tiles:
  """All that can be tuned; a ValueError if the hardware cannot take it.

  Attributes:
    forward: of the launch forward.
    backward: of the launches backward.
    segment_chunks: the fewest chunks of 128 tokens in a segment, where a long
      sequence is split because rows and heads are too few for the device.
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
    """Into how many pieces a sequence is split, to fill the device once."""
    programs = B * H * -(-V // VALUE_TILE)
    most = -(-L // CHUNK) // self.segment_chunks
    return max(min(_processors() // programs, most), 1)

  def entry(self) -> dict[str, Any]:
    """What stands in a table, as JSON has it."""
    return dataclasses.asdict(self)

  @classmethod
  def from_entry(cls, entry: Mapping[str, Any]) -> 'Tiles':
    """Undoes `entry`."""
    configs = {'forward': ForwardConfig, 'backward': BackwardConfig}
    return cls(
        segment_chunks=entry['segment_chunks'],
        **{
            name: config(**{k: _tuples(x) for k, x in entry[name].items()})
            for name, config in configs.items()
        },
    )


def choose(V: int) -> Tiles:
  """The tiles for heads of V values on the first device that there is."""
  table = tiles.for_device(OPERATION, jax.devices()[0])
  entry = table and table.entries.get(f'V{V}')
  return Tiles.from_entry(entry) if entry else Tiles()


def is_hopper(capability: str | None) -> bool:
  """Whether a device of this compute capability is a Hopper GPU."""
  return str(capability).startswith('9.0')


def unfit() -> str | None:
  """Why the first device cannot run the kernels; None if it can.

  None as well where that is no GPU: there they are compiled for GPUs that are
  not there, or interpreted.
  """
  device = jax.devices()[0]
  capability = getattr(device, 'compute_capability', None)
  if capability is None or is_hopper(capability):
    return None
  return (
      'devices must be GPUs of compute capability 9.0 (Hopper), got'
      f' {device.device_kind} of {capability}'
  )


def is_measured(device_kind: str, V: int) -> bool:
  """Whether a benchmark has found the kernels right there, for V values."""
  table = tiles.load(OPERATION, device_kind)
  return table is not None and f'V{V}' in table.entries


def unproven(V: int) -> str | None:
  """Why the kernels are not a good default here; None if they are."""
  device = jax.devices()[0]
  if device.platform != 'gpu':
    return f'devices must be Hopper GPUs, got {device.device_kind}'
  if reason := unfit():
    return reason
  if is_measured(device.device_kind, V):
    return None
  return (
      f'there are no measurements of it for V = {V} on {device.device_kind}:'
      ' name it to use it all the same, if python -m pallas_kernels.selfcheck'
      ' says that it may'
  )


def _processors():
  """How many programs the device runs at once: one on each processor.

  An H100 PCIe has 114, an H20 78, and a part of a GPU (MIG) fewer.
  """
  return getattr(jax.devices()[0], 'core_count', None) or _PROCESSORS


def _tuples(x):
  return tuple(x) if isinstance(x, list) else x
