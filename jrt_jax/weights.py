"""Readers and writers of weights: safetensors, and the .bin of PyTorch."""

from collections.abc import Mapping
import hashlib
import os
import pathlib
import zipfile

import ml_dtypes
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.schema import shown

Path = str | os.PathLike


def read(folder: Path) -> dict[str, np.ndarray]:
  """Returns the arrays of model*.safetensors, or else of pytorch_model*.bin.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a file is damaged, two files hold an array of the same name, or
      a .bin needs torch, which is not installed.
  """
  folder = pathlib.Path(folder)
  for pattern, read_file in (
      ('model*.safetensors', read_safetensors),
      ('pytorch_model*.bin', read_torch),
  ):
    if files := sorted(folder.glob(pattern)):
      return _joined({file: read_file(file) for file in files})
  raise FileNotFoundError(
      f'{folder} must hold model.safetensors or pytorch_model.bin, got neither'
  )


def check_shapes(
    arrays: Mapping[str, np.ndarray],
    wanted: Mapping[str, tuple[int, ...]],
    folder: Path,
) -> None:
  """Raises ValueError unless `arrays` are floats of the `wanted` shapes.

  Args:
    arrays: by name; they must not be wider than float32.
    wanted: the shape of each.
    folder: where they are from, for the message.
  """
  problems = _differences({n: x.shape for n, x in arrays.items()}, wanted)
  problems += [
      f'{name} is {x.dtype}, not float32 or narrower'
      for name, x in arrays.items()
      if 'float' not in x.dtype.name or x.itemsize > 4
  ]
  if problems:
    raise ValueError(
        f'the weights in {folder} are not those of its config.json:'
        f" {'; '.join(problems)}"
    )


def check_tied(
    arrays: Mapping[str, np.ndarray], head: str, table: str, folder: Path
) -> None:
  """Raises ValueError if there is a head that differs from the embedding."""
  if not np.array_equal(arrays.get(head, arrays[table]), arrays[table]):
    raise ValueError(
        f'{head} in {folder} must equal the embedding, because our models tie'
        ' them, got other values'
    )


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
  """Returns the arrays of a file by name; bfloat16 is that of ml_dtypes.

  Raises:
    OSError: the file does not exist or cannot be read.
    ValueError: it is truncated, is not a safetensors file, or has numbers that
      are not finite.
  """
  with foreign.intact(path, 'safetensors file'):  # it checks the sizes itself
    arrays = safetensors_numpy.load_file(path)
  return _finite(path, arrays)


def write_safetensors(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes arrays by name; `path` is complete or unchanged at any time.

  Args:
    path: the file, in an existing folder.
    arrays: of any shape and memory layout; bfloat16 is that of ml_dtypes.
    metadata: texts for the header; transformers needs {'format': 'pt'}.

  Raises:
    OSError: the file cannot be written.
  """
  # The library writes memory in its order, even if the array is transposed.
  dense = {name: np.asarray(x, order='C') for name, x in arrays.items()}
  with atomic_write.replacing(path) as new:
    new.touch()
    mode = new.stat().st_mode  # the library would allow only the owner to read
    try:
      safetensors_numpy.save_file(dense, new, metadata=dict(metadata or {}))
    except safetensors.SafetensorError as error:
      raise OSError(f'{path} cannot be written: {error}') from error
    new.chmod(mode)


def sha256(path: Path) -> str:
  """Returns the digest of a file, as the command `sha256sum` shows it."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def check_sha256(path: Path, wanted: str) -> None:
  """Raises ValueError unless the file has the digest `wanted`."""
  if (found := sha256(path)) != wanted:
    raise ValueError(
        f'{path} must be the file that was exported, with the sha256 {wanted}'
        f' of config.json, got {found}: it is damaged or was changed'
    )


def read_torch(path: Path) -> dict[str, np.ndarray]:
  """Returns the tensors of a state dict that torch.save wrote; needs torch.

  Only weights are read: a file with code in it is refused.

  Raises:
    OSError: the file does not exist or cannot be read.
    ValueError: it is damaged, holds other things than tensors, or torch is
      missing.
  """
  torch = _torch(path)
  kind = 'file of weights only'
  with foreign.intact(path, kind), open(path, 'rb') as file:
    if zipfile.is_zipfile(path):  # the format of torch, without compression
      with zipfile.ZipFile(path) as archive:
        sizes = [member.file_size for member in archive.infolist()]
      foreign.check_unpacked(path, sum(sizes))
    state = torch.load(file, map_location='cpu', weights_only=True)
    if not isinstance(state, Mapping):
      raise ValueError(f'it holds a {type(state).__name__}')
    arrays = {name: _array(name, x, torch) for name, x in state.items()}
  return _finite(path, arrays)


def write_torch(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes float32 arrays as a state dict of torch.save; needs torch.

  Two names of one array object stay tied. `path` is complete or unchanged at
  any time.

  Raises:
    OSError: the file cannot be written.
    ValueError: torch is missing.
  """
  torch = _torch(path)
  tensors = {id(x): torch.tensor(x) for x in arrays.values()}
  with atomic_write.replacing(path) as new, open(new, 'wb') as file:
    torch.save({name: tensors[id(x)] for name, x in arrays.items()}, file)


def _torch(path):
  try:
    import torch
  except ImportError as error:
    raise ValueError(
        f'{path} needs torch: pip install torch, or use safetensors'
    ) from error
  return torch


def _array(name, tensor, torch):
  if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
    raise ValueError(f'{shown(name)} is not the name of a tensor')
  if tensor.nbytes > tensor.untyped_storage().nbytes():
    raise ValueError(f'{name} is larger than its stored data')
  if tensor.dtype == torch.bfloat16:  # which numpy does not have
    return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
  return tensor.numpy()


def _finite(path, arrays):
  for name, x in arrays.items():
    if x.dtype.kind not in 'biu' and not np.isfinite(x).all():
      raise ValueError(f'{path}: {shown(name)} must be finite')
  return arrays


def _differences(found, wanted):
  """Returns a text for each shape that is missing, unknown or wrong."""
  problems = []
  for what, names in (
      ('missing', wanted.keys() - found.keys()),
      ('unexpected', found.keys() - wanted.keys()),
  ):
    if names:
      problems.append(f"{what} {', '.join(sorted(names))}")
  for name in sorted(wanted.keys() & found.keys()):
    if found[name] != wanted[name]:
      problems.append(f'{name} is {found[name]}, not {wanted[name]}')
  return problems


def _joined(arrays_by_file):
  joined = {}
  for file, arrays in arrays_by_file.items():
    if again := sorted(joined.keys() & arrays):
      raise ValueError(f'{again[0]} must be in one file, got another in {file}')
    joined |= arrays
  return joined
