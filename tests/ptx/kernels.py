"""The kernels of programs for virtual GPUs, from the reports of their compiler."""

from collections.abc import Callable
import dataclasses
import mmap
import os
import pathlib
import re
import tempfile
from typing import Any
from unittest import mock

import jax

from pallas_kernels import virtual_gpus


@dataclasses.dataclass(frozen=True)
class Kernel:
  """A Mosaic GPU kernel, compiled by ptxas, NVIDIA's assembler.

  Attributes:
    name: the name of the function that was given to `plgpu.kernel`.
    registers: the registers of a thread at the start of the kernel.
    spill_stores: the bytes that a thread spills to memory.
    spill_loads: the bytes that it reads back.
    shared_memory: the bytes of a block.
    serialized: whether tensor core operations (wgmma) wait for one another;
      ptxas then warns with C7511 or C7512.
    ptx: the input of ptxas.
    host: the code that launches the kernel, in MLIR.
  """

  name: str
  registers: int
  spill_stores: int
  spill_loads: int
  shared_memory: int
  serialized: bool
  ptx: str = dataclasses.field(repr=False)
  host: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled program and its Mosaic GPU kernels."""

  compiled: jax.stages.Compiled
  kernels: tuple[Kernel, ...]


def compile_for(
    device: str, function: Callable[..., Any], *shapes: Any
) -> Program:
  """Compiles as `virtual_gpus.compile_for` does, and reads the reports of ptxas.

  jaxlib then complains on stderr about missing tools.
  """
  with tempfile.TemporaryDirectory() as folder:
    with mock.patch.dict(os.environ, MOSAIC_GPU_DUMP_TO=folder):
      compiled = virtual_gpus.compile_for(device, function, *shapes)
    reports = sorted(pathlib.Path(folder).glob('*.ptxas'))
    return Program(compiled, tuple(map(read_kernel, reports)))


def read_kernel(report: pathlib.Path) -> Kernel:
  """Reads the files that Mosaic GPU writes about a kernel.

  Args:
    report: the report of ptxas; the file of resources is beside it.
  """
  ptxas = report.read_text()
  resources = report.with_suffix('.resources.txt').read_text()

  def number(pattern, text):
    return int(re.search(pattern, text)[1])

  return Kernel(
      name=re.search(r"entry function '(\w+)_mosaic_gpu", ptxas)[1],
      registers=number(r'Used (\d+) registers', ptxas),
      spill_stores=number(r'(\d+) bytes spill stores, \d+ .*\n', ptxas),
      spill_loads=number(r'(\d+) bytes spill loads', ptxas),
      shared_memory=number(r'smem_scratch_bytes=(\d+)', resources),
      serialized='instructions are serialized' in ptxas,
      ptx=report.with_suffix('.ptx').read_text(),
      host=_last_host_code(report.with_suffix('.mlir-passes.log')),
  )


def _last_host_code(log: pathlib.Path) -> str:
  """The last module before the launch is lowered, out of 100 MB of text."""
  with log.open('rb') as file, mmap.mmap(
      file.fileno(), 0, access=mmap.ACCESS_READ
  ) as text:
    start = text.rfind(b'IR Dump Before GpuLaunchLoweringPass')
    if start < 0:  # another version of jax has other passes
      return ''
    return text[start : text.find(b'\n  gpu.binary', start)].decode()
