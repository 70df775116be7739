"""Which GPUs a run would have: NxGPU, or NODESxNxGPU."""

import re
from typing import NamedTuple


class Gpu(NamedTuple):
  """What a data sheet says of a GPU."""

  kind: str  # part of jax's `device_kind`
  flops: float  # a second, dense bfloat16: half of the figures "with sparsity"
  memory_gib: int  # as drivers call what data sheets call GB
  architecture: str


# By name; the first whose kind occurs in a `device_kind` is meant. Source:
# NVIDIA's data sheets of the A100 (2021), H100 (2023), H200, DGX B200 and GB200
# NVL72 (2024).
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


# Those for which `virtual_gpus` can compile.
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
  """Returns what NxGPU or NODESxNxGPU stands for.

  Raises:
    ValueError: it is neither, or the GPU is not known.
  """
  match = re.fullmatch(r'(?:([1-9]\d{0,5})x)?([1-9]\d{0,5})x(.+)', text)
  if not match or match[3] not in GPUS:
    raise ValueError(
        '--topology must be NxGPU or NODESxNxGPU with a GPU of'
        f' {", ".join(sorted(GPUS))}, got {text!r}'
    )
  nodes, gpus, name = match.groups()
  return Topology(int(nodes or 1), int(gpus), name)


def of_kind(device_kind: str) -> Gpu | None:
  """Returns the GPU that jax calls so; None if it is not known."""
  return next((gpu for gpu in GPUS.values() if gpu.kind in device_kind), None)
