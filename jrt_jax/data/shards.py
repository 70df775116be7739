"""Checks, verifies and memory-maps the shards of `jrt_jax.data.prepare`."""

from collections.abc import Mapping, Sequence
import concurrent.futures
import functools
import hashlib
import os
import pathlib
import zlib

import numpy as np

from jrt_jax import local_paths
from jrt_jax.data import manifest as manifests
from jrt_jax.data import megatron_file
from jrt_jax.data import streams
from jrt_jax.data import tokenizers
from jrt_jax.data import verified
from jrt_jax.reporting.progress import progress_bar
from jrt_jax.schema import shown


def open_splits(
    data: Mapping,
    tokenizer: tokenizers.Bytes | tokenizers.TokenizerJson,
    *,
    share: tuple[int, int] = (0, 1),
) -> dict[str, streams.TokenStream]:
  """Returns the splits of a folder of shards, without copying tokens.

  If the folder has no validation shards, the end of its tokens is held out.

  Args:
    data: `config.data`: `path` is the folder; with `verify`, shards that have
      changed since they were last verified are compared with their checksums;
      otherwise only their sizes are checked.
    tokenizer: the tokenizer that the shards must be made with.
    share: (part, parts), which shards this process verifies.

  Raises:
    ValueError: shards are incomplete, damaged, or of another tokenizer.
    FileNotFoundError: the manifest or a shard is missing.
  """
  if data['validation_path']:
    raise ValueError(
        "config.data.validation_path must be empty with source='shards', got"
        f' {data["validation_path"]!r}: the folder has its own validation'
        ' shards'
    )
  if not data['path']:
    raise ValueError(
        'config.data.path must be a folder that jrt_jax.data.prepare has'
        " written, got ''"
    )
  local_paths.check('config.data.path', data['path'])
  folder = pathlib.Path(data['path']).expanduser()
  manifest = manifests.read(folder)
  if not manifest.complete:
    raise ValueError(
        f'{folder} is not finished, it has {manifest.file} of'
        f' {len(manifest.inputs)} files: the same command of'
        ' jrt_jax.data.prepare continues'
    )
  _check_tokenizer(folder, manifest, tokenizer)
  check_sizes(folder, manifest)
  if data['verify']:
    part, parts = share
    verify(folder, _not_verified(folder, manifest.shards[part::parts]))
  splits = {
      split: [
          megatron_file.mapped(folder / shard.file, manifest.dtype)
          for shard in manifest.of(split)
      ]
      for split in ('train', 'validation')
  }
  if not splits['validation']:
    train = splits['train']
    tokens = sum(map(len, train))
    end = tokens - int(data['validation_fraction'] * tokens)
    splits = {
        'train': streams.cut(train, 0, end),
        'validation': streams.cut(train, end, tokens),
    }
  digests = ''.join(shard.sha256 for shard in manifest.shards)
  checksum = f'{zlib.crc32(digests.encode()):08x}'
  return {
      split: streams.TokenStream(arrays, checksum)
      for split, arrays in splits.items()
  }


def check_sizes(folder: pathlib.Path, manifest: manifests.Manifest) -> None:
  """Raises an error unless every shard exists and has the right size."""
  for shard in manifest.shards:
    path = folder / shard.file
    if not path.is_file():
      raise FileNotFoundError(
          f'{path} does not exist, but its manifest names it'
      )
    expected = _num_bytes(manifest, shard)
    if path.stat().st_size != expected:
      raise ValueError(
          f'{path} must have {expected} bytes, got {path.stat().st_size}: copy'
          ' it again, or prepare the folder again'
      )


def forget_verified(data: Mapping) -> None:
  """Makes `open_splits` compare all shards with their checksums again.

  Args:
    data: `config.data`, whose source is 'shards'.

  Raises:
    ValueError: the source is not 'shards', or `verify` is off.
    FileNotFoundError: the manifest or a shard is missing.
  """
  if data['source'] != 'shards' or not data['verify']:
    raise ValueError(
        '--verify_data needs config.data.source=shards and'
        f' config.data.verify=True, got {data["source"]} and {data["verify"]}'
    )
  for path in [x for x, _ in data['mixture']] or [data['path']]:
    folder = pathlib.Path(path).expanduser()
    for shard in manifests.read(folder).shards:
      verified.forget(verified.mark(folder / shard.file, shard.sha256))


def verify(folder: pathlib.Path, shards: Sequence[manifests.Shard]) -> None:
  """Compares shards with their checksums on all cores; remembers the result.

  Shows progress on a terminal.

  Raises:
    ValueError: a shard does not match its checksum.
  """
  bar = progress_bar(
      total=sum((folder / shard.file).stat().st_size for shard in shards),
      desc='verifying shards',
      unit='B',
      unit_scale=True,
      leave=False,
  )
  pool = concurrent.futures.ThreadPoolExecutor(num_cores())
  damaged = []
  try:
    intact = pool.map(functools.partial(_is_intact, folder, bar), shards)
    damaged = [
        shard.file for shard, is_intact in zip(shards, intact) if not is_intact
    ]
  finally:
    pool.shutdown(cancel_futures=True)  # after Ctrl-C there may be hours left
    bar.close()
  if damaged:
    raise ValueError(
        f'{folder} has damaged shards, which do not match their sha256:'
        f' {", ".join(damaged)}; copy them again, or prepare the folder again'
    )


def num_cores() -> int:
  """Returns how many cores this process may use."""
  try:
    return len(os.sched_getaffinity(0))
  except AttributeError:  # not on every system
    return os.cpu_count()


def _not_verified(folder, shards):
  """Returns the shards that may have changed since they were verified."""
  return [
      shard
      for shard in shards
      if not verified.is_set(verified.mark(folder / shard.file, shard.sha256))
  ]


def _is_intact(folder, bar, shard):
  path = folder / shard.file
  mark, digest = verified.mark(path, shard.sha256), hashlib.sha256()
  with open(path, 'rb') as file:
    while block := file.read(2**22):
      digest.update(block)
      bar.update(len(block))
  if digest.hexdigest() != shard.sha256:
    return False
  verified.remember(mark)
  return True


def _num_bytes(manifest, shard):
  return shard.tokens * np.dtype(manifest.dtype).itemsize


def _check_tokenizer(folder, manifest, tokenizer):
  fingerprint = manifest.tokenizer['fingerprint']
  if fingerprint == tokenizer.fingerprint:
    return
  made_with = shown(fingerprint)
  copy = folder / 'tokenizer.json'
  name = copy if copy.is_file() else made_with
  raise ValueError(
      f'config.data.tokenizer must be the one that {folder} was made with,'
      f' {made_with}, got {shown(tokenizer.fingerprint)}: use'
      f' --config.data.tokenizer={name}'
  )
