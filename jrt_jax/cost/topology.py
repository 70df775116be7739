"""Known GPUs, and the notation for several: NxGPU or NODESxNxGPU."""

import re
from typing import NamedTuple


class Gpu(NamedTuple):
  """A GPU, by its data sheet."""

  kind: str  # a part of jax's `device_kind`
  flops: float  # FLOP/s in dense bfloat16: half of the figures "with sparsity"
  memory_gib: int  # data sheets call this GB
  architecture: str


# By name. A `device_kind` of jax is the first GPU whose kind occurs in it.
# Source: NVIDIA's data sheets of the A100 (2021), H100 (2023), H200, DGX B200
# and GB200 NVL72 (2024).
GPUS = {
    'A100-40GB': Gpu('A100-SXM4-40GB', 312e12, 40, 'Ampere'),
    'A100': Gpu('A100', 312e12, 80, 'Ampere'),
    'H100-PCIe': Gpu('H100 PCIe', 756e12, 80, 'Hopper'),
    'H100-NVL': Gpu('H100 NVL', 835e12, 94, 'Hopper'),
    'H100': Gpu('H100', 989e12, 80, 'Hopper'),
    'H200-NVL': Gpu('H200 NVL', 835e12, 141, 'Hopper'),
    'H200': Gpu('H200', 989e12, 141, 'Hopper'),  # GH200 too
    'GB200': Gpu('GB200', 2500e12, 186, 'Blackwell'),
    'B200': Gpu('B200', 2250e12, 180, 'Blackwell'),
}


# The GPUs that `virtual_gpus` can compile for.
COMPILED = 'H100', 'H200'


class Topology(NamedTuple):
  """GPUs of one kind, in nodes of equal size."""

  nodes: int
  gpus_per_node: int
  name: str  # of the GPU, a key of `GPUS`

  @property
  def gpu(self) -> Gpu:
    return GPUS[self.name]

  @property
  def num_gpus(self) -> int:
    return self.nodes * self.gpus_per_node


def parse(text: str) -> Topology:
  """Parses NxGPU or NODESxNxGPU.

  Raises:
    ValueError: the text has another form, or the GPU is unknown.
  """
  match = re.fullmatch(r'(?:([1-9]\d{0,5})x)?([1-9]\d{0,5})x(.+)', text)
  if not match or match[3] not in GPUS:
    raise ValueError(
        '--topology must be NxGPU or NODESxNxGPU, where GPU is one of'
        f' {", ".join(sorted(GPUS))}, got {text!r}'
    )
  nodes, gpus, name = match.groups()
  return Topology(int(nodes or 1), int(gpus), name)


def of_kind(device_kind: str) -> Gpu | None:
  """Returns the GPU with this name in jax; None if unknown."""
  return next((gpu for gpu in GPUS.values() if gpu.kind in device_kind), None)
