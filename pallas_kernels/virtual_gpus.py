"""Compiles programs for virtual GPUs.

jax's CUDA plugin can compile for a GPU that is only described. This needs no
GPU and no driver, but the wheels of the extra `aot`. The compiled program has
the memory, the collectives and the kernels of the real one. It must not be used
to judge speed: XLA chooses its own kernels by timing them on the GPU, and
guesses without one.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import importlib.metadata
import os
import pathlib
import string
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

_DESCRIPTION = string.Template(
    (pathlib.Path(__file__).parent / 'hopper.txtpb').read_text()
)
# The differences between the two GPUs, by NVIDIA's data sheets.
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
# Matrix products use cuBLAS: XLA would time the alternatives on the GPU.
_OPTIONS = {'xla_gpu_enable_triton_gemm': False}


def missing() -> str | None:
  """Returns what is missing to compile for virtual GPUs; None if nothing is.

  jax would load a plugin of another version than its own, and fail later.
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
    count: the number of GPUs of each machine.
    machines: the number of machines.

  Raises:
    ValueError: the name is unknown.
    RuntimeError: jax has no plugin for CUDA, or could not load it.
  """
  if name not in DEVICES:
    raise ValueError(f'name must be one of {sorted(DEVICES)}, got {name!r}')
  with _environment(JAX_SKIP_CUDA_CONSTRAINTS_CHECK='1'):  # there is no driver
    try:
      return topologies.get_topology_desc(
          platform='cuda',
          target_config=_DESCRIPTION.substitute(DEVICES[name]),
          topology=f'1x{machines}x{count}',
      ).devices
    except NotImplementedError as error:  # the plugin is not loaded
      raise RuntimeError(
          missing()
          or 'JAX_PLATFORMS=cpu must be in the environment on a machine without'
          ' a GPU: without it, jax does not load its plugin for CUDA'
      ) from error


def compile_for(
    device: str,
    function: Callable[..., Any],
    *shapes: Any,
) -> jax.stages.Compiled:
  """Compiles `function` for one or several virtual GPUs.

  While `function` is traced, `jax.devices` and `jax.default_backend` report one
  such GPU, so that it makes the same choices as on a real one.

  Args:
    device: one of `DEVICES`.
    function: a function of arrays, or the result of `jax.jit`.
    *shapes: `jax.ShapeDtypeStruct`s, or trees of them, with a sharding on
      `devices`; those without a sharding are on one device.

  Raises:
    RuntimeError: jax has no plugin for CUDA.
  """
  gpu = devices(device)[0]

  def place(x):
    return x if x.sharding else x.update(sharding=SingleDeviceSharding(gpu))

  shapes = jax.tree.map(place, shapes)
  jitted = function if hasattr(function, 'lower') else jax.jit(function)
  with _present(gpu):
    lowered = jitted.lower(*shapes)
  return lowered.compile(compiler_options=_OPTIONS)


@contextlib.contextmanager
def _present(gpu):
  """Makes `jax.devices` return a virtual GPU."""
  before = jax.devices, jax.default_backend
  jax.devices, jax.default_backend = lambda: [gpu], lambda: gpu.platform
  try:
    yield
  finally:
    jax.devices, jax.default_backend = before


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
  """Sets environment variables within a `with` block."""
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
