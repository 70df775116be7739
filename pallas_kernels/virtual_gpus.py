"""Programs compiled for GPUs that are not there, and what the compiler said.

jax's CUDA plugin compiles for a GPU that is only described: no GPU and no
driver are needed, but the wheels of the extra `aot`. What comes out has the
memory, the exchanges between devices and the kernels of the real program. It
must not be used to judge speed: XLA chooses its own kernels by timing them on
the GPU, and here it guesses.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import importlib.metadata
import mmap
import os
import pathlib
import re
import string
import tempfile
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

_DESCRIPTION = string.Template(
    (pathlib.Path(__file__).parent / 'hopper.txtpb').read_text()
)
# In what the two GPUs differ, by NVIDIA's data sheets.
DEVICES = {
    'H100': {
        'name': 'NVIDIA H100 80GB HBM3',
        'memory': 80 * 2**30,  # bytes
        'bandwidth': 3_350_000_000_000,  # bytes/s
    },
    'H200': {
        'name': 'NVIDIA H200',
        'memory': 141 * 2**30,
        'bandwidth': 4_800_000_000_000,
    },
}
# Matrix products by cuBLAS: what would compete with it is timed on the GPU.
_OPTIONS = {'xla_gpu_enable_triton_gemm': False}


@dataclasses.dataclass(frozen=True)
class Kernel:
  """A Mosaic GPU kernel as ptxas, NVIDIA's assembler, has made it.

  Attributes:
    name: of the function that was given to `plgpu.kernel`.
    registers: of a thread at the start of the kernel.
    spill_stores: bytes a thread writes to memory for want of registers.
    spill_loads: bytes it reads back.
    shared_memory: bytes of a block.
    serialized: whether tensor core operations (wgmma) wait for one another,
      what ptxas warns of with C7511 or C7512.
    ptx: what ptxas was given.
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
  """A compiled program, and the Mosaic GPU kernels that were made for it."""

  compiled: jax.stages.Compiled
  kernels: tuple[Kernel, ...]

  @property
  def peak_memory(self) -> int:
    """Bytes on each device: arguments, results and what is in between."""
    memory = self.compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def missing() -> str | None:
  """What is not installed that compiles for them; None if all is.

  jax loads a plugin of another version than its own, and fails later.
  """
  if jax.__version_info__ < (0, 11, 2):
    return f'jax must be 0.11.2 or newer, got {jax.__version__}'
  try:
    plugin, jaxlib = map(
        importlib.metadata.version, ('jax-cuda13-plugin', 'jaxlib')
    )
  except importlib.metadata.PackageNotFoundError:
    return (
        "jax's plugin for CUDA must be installed: pip install -e '.[aot]', on"
        ' Linux with Python 3.12 or newer'
    )
  if plugin != jaxlib:
    return (
        f"jax's plugin for CUDA must be of version {jaxlib}, as jaxlib is, got"
        f' {plugin}: pip install jax-cuda13-plugin=={jaxlib}'
    )
  return None


def devices(
    name: str, count: int = 1, *, machines: int = 1
) -> Sequence[jax.Device]:
  """Returns virtual GPUs, to compile for.

  Args:
    name: one of `DEVICES`.
    count: how many each machine has.
    machines: how many there are.

  Raises:
    ValueError: the name is another.
    RuntimeError: jax has no plugin for CUDA.
  """
  if name not in DEVICES:
    raise ValueError(f'name must be one of {sorted(DEVICES)}, got {name!r}')
  with _environment(JAX_SKIP_CUDA_CONSTRAINTS_CHECK='1'):  # there is no driver
    return topologies.get_topology_desc(
        platform='cuda',
        target_config=_DESCRIPTION.substitute(DEVICES[name]),
        topology=f'1x{machines}x{count}',
    ).devices


def compile_for(
    device: str,
    function: Callable[..., Any],
    *shapes: Any,
    reports: bool = True,
) -> Program:
  """Compiles `function` for a virtual GPU, or for several.

  While `function` is traced, `jax.devices` and `jax.default_backend` tell of
  one such GPU, so that it chooses what it would choose there.

  Args:
    device: one of `DEVICES`.
    function: of arrays; what `jax.jit` returned, if it has options.
    *shapes: `jax.ShapeDtypeStruct`s, or trees of them, with a sharding on
      `devices`; those without lie on one device.
    reports: whether to read what ptxas says of each kernel; jaxlib complains on
      stderr of tools that it would need to say more.

  Raises:
    RuntimeError: jax has no plugin for CUDA.
  """
  gpu = devices(device)[0]

  def place(x):
    return x if x.sharding else x.update(sharding=SingleDeviceSharding(gpu))

  shapes = jax.tree.map(place, shapes)
  jitted = function if hasattr(function, 'lower') else jax.jit(function)
  with tempfile.TemporaryDirectory() as folder:
    variables = {'MOSAIC_GPU_DUMP_TO': folder} if reports else {}
    with _environment(**variables):
      with _present(gpu):
        lowered = jitted.lower(*shapes)
      compiled = lowered.compile(compiler_options=_OPTIONS)
    files = sorted(pathlib.Path(folder).glob('*.ptxas'))
    return Program(compiled, tuple(map(read_kernel, files)))


def read_kernel(report: pathlib.Path) -> Kernel:
  """Returns what the files say that Mosaic GPU leaves of a kernel.

  Args:
    report: of ptxas; beside it are the resources that the kernel asked for.
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
  """The module before the launch is lowered; all passes are 100 MB of text."""
  with log.open('rb') as file, mmap.mmap(
      file.fileno(), 0, access=mmap.ACCESS_READ
  ) as text:
    start = text.rfind(b'IR Dump Before GpuLaunchLoweringPass')
    if start < 0:  # another version of jax has other passes
      return ''
    return text[start : text.find(b'\n  gpu.binary', start)].decode()


@contextlib.contextmanager
def _present(gpu):
  """Lets code that asks for devices find one that is not there."""
  before = jax.devices, jax.default_backend
  jax.devices, jax.default_backend = lambda: [gpu], lambda: gpu.platform
  try:
    yield
  finally:
    jax.devices, jax.default_backend = before


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
  """Sets environment variables, for a while."""
  before = {name: os.environ.get(name) for name in variables}
  os.environ.update(variables)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value
