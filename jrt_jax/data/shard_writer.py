"""Writes token shards part by part: a crash loses only the last part."""

import hashlib
import pathlib

import numpy as np

from jrt_jax import atomic_write
from jrt_jax.data import manifest as manifests
from jrt_jax.data import tokenization

_SPLITS = ('train', 'validation')


class ShardWriter:
  """Writes parts: a train and a validation shard from consecutive documents.

  As a context manager, it closes the files of an unfinished part.

  Args:
    folder: the folder of the shards and of the manifest.
    manifest: the manifest of existing shards, to which new ones are added.
  """

  def __init__(self, folder: pathlib.Path, manifest: manifests.Manifest):
    self._folder = folder
    self._manifest = manifest
    self._files = {}
    self.tokens = 0  # of the part

  def __enter__(self) -> 'ShardWriter':
    return self

  def __exit__(self, *_) -> None:
    for file in self._files.values():
      file.close()

  def write(self, tokens: tokenization.Tokens) -> None:
    """Adds documents to the part."""
    for split, held_out in zip(_SPLITS, (False, True)):
      chosen = tokens.held_out == held_out
      documents = int(np.count_nonzero(tokens.lengths[chosen]))
      if not documents:
        continue
      if split not in self._files:
        self._files[split] = _ShardFile(self._folder, self._manifest, split)
      ids = tokens.ids[np.repeat(chosen, tokens.lengths)]
      self._files[split].write(ids, documents)
    self.tokens += len(tokens.ids)

  def commit(self, file: int, unit: int) -> None:
    """Ends the part; the next one begins at `unit` of input `file`."""
    for split in _SPLITS:
      if split in self._files:
        self._manifest.shards.append(self._files.pop(split).commit())
    self._manifest.file, self._manifest.unit = file, unit
    manifests.write(self._folder, self._manifest)
    self.tokens = 0


class _ShardFile:

  def __init__(self, folder, manifest, split):
    name = f'{split}-{len(manifest.of(split)):05d}.bin'
    self._path = folder / name
    self._temporary = folder / f'{name}.tmp'
    self._dtype = np.dtype(manifest.dtype).newbyteorder('<')
    self._file = open(self._temporary, 'wb')
    self._digest = hashlib.sha256()
    self._shard = manifests.Shard(name, split, 0, 0, '')

  def write(self, ids, documents):
    content = ids.astype(self._dtype, copy=False).tobytes()
    self._file.write(content)
    self._digest.update(content)
    self._shard.tokens += len(ids)
    self._shard.documents += documents

  def commit(self):
    self.close()
    self._path.with_suffix('.idx').unlink(missing_ok=True)  # of an older shard
    atomic_write.commit(self._temporary, self._path)
    self._shard.sha256 = self._digest.hexdigest()
    return self._shard

  def close(self):
    self._file.close()
