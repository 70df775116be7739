"""Tokenizes text into shards; `python -m jrt_jax.data.prepare` calls this."""

import contextlib
import dataclasses
import pathlib
import shutil

import numpy as np

from jrt_jax import atomic_write
from jrt_jax.data import manifest as manifests
from jrt_jax.data import megatron_file
from jrt_jax.data import shard_writer
from jrt_jax.data import shards
from jrt_jax.data import sources
from jrt_jax.data import streams
from jrt_jax.data import text_batches
from jrt_jax.data import tokenization
from jrt_jax.data import tokenizers
from jrt_jax.reporting.progress import progress_bar
from jrt_jax.runtime import folder_lock


def prepare(
    folder: pathlib.Path,
    paths: list[str],
    tokenizer: str,
    settings: manifests.Settings,
    workers: int,
) -> manifests.Manifest:
  """Writes the files of `folder`, or those that are still missing.

  Their bytes depend neither on `workers` nor on earlier interruptions.

  Args:
    folder: receives the shards with their indices (as in Megatron-LM), the
      manifest and a copy of the tokenizer.
    paths: files of text.
    tokenizer: 'bytes', or the path of a tokenizer.json.
    settings: settings that determine the tokens of each shard.
    workers: number of processes that tokenize.

  Returns:
    The manifest.

  Raises:
    ValueError: a setting is wrong, there are too many files, the text is
      broken, the folder is in use, or it was made from other text or with other
      settings.
    OSError: a file cannot be read or written, or a worker died.
  """
  _check(settings, paths, workers)
  loaded = tokenizers.load(tokenizer)
  folder.mkdir(parents=True, exist_ok=True)
  with folder_lock.held(folder, '--out'):
    manifest = manifests.Manifest(
        tokenizer={
            'fingerprint': loaded.fingerprint,
            'size': loaded.size,
            'eos_id': loaded.eos_id,
        },
        dtype=streams.token_dtype(loaded.size).name,
        settings=settings,
        inputs=[{'path': p, 'bytes': sources.size(p)} for p in paths],
    )
    if manifests.exists(folder):
      manifest = _continued(folder, manifest)
    for stale in folder.glob('*.tmp'):
      stale.unlink()
    if tokenizer != 'bytes':
      to = folder / 'tokenizer.json'
      with atomic_write.replacing(to, durable=True) as new:
        shutil.copyfile(tokenizer, new)
    manifests.write(folder, manifest)
    if not manifest.complete:
      _write_shards(folder, manifest, tokenizer, workers)
    _write_indices(folder, manifest)
  return manifest


def _check(settings, paths, workers):
  if len(paths) > manifests.MOST_INPUTS:
    raise ValueError(
        f'the input must be at most {manifests.MOST_INPUTS:,} files, got'
        f' {len(paths):,}: join some of them'
    )
  if not 0 <= settings.validation_fraction < 1:
    raise ValueError(
        'validation_fraction must lie in [0, 1), got'
        f' {settings.validation_fraction}'
    )
  for name, value in (
      ('shard_tokens', settings.shard_tokens),
      ('workers', workers),
  ):
    if value < 1:
      raise ValueError(f'{name} must be positive, got {value}')


def _continued(folder, wanted):
  """Returns the manifest of `folder`, after checking that it fits `wanted`."""
  manifest = manifests.read(folder)
  old, new = _facts(manifest), _facts(wanted)
  for name in old | new:
    if old.get(name) != new.get(name):
      raise ValueError(
          f'{folder} was started with {name} {old.get(name)!r}, got'
          f' {new.get(name)!r}: use another --out, or remove the folder'
      )
  shards.check_sizes(folder, manifest)
  return manifest


def _facts(manifest):
  """Returns what must be the same when a command continues, by name."""
  sizes = {f'bytes of {x["path"]}': x['bytes'] for x in manifest.inputs}
  return {
      'tokenizer': manifest.tokenizer['fingerprint'],
      **dataclasses.asdict(manifest.settings),
      **sizes,
      'order of files': list(sizes),
  }


def _write_shards(folder, manifest, tokenizer, workers):
  settings = manifest.settings
  paths = [file['path'] for file in manifest.inputs]
  batches = text_batches.read(
      paths,
      format=settings.format,
      separator=settings.separator,
      text_key=settings.text_key,
      file=manifest.file,
      unit=manifest.unit,
  )
  with (
      contextlib.closing(
          tokenization.tokenize_all(batches, tokenizer, settings, workers)
      ) as tokenized,
      shard_writer.ShardWriter(folder, manifest) as writer,
      _bar(manifest) as bar,
  ):
    for batch, tokens in tokenized:
      _write(writer, batch, tokens, settings.shard_tokens)
      done = sum(x['bytes'] for x in manifest.inputs[: batch.file])
      bar.update(done + batch.read - bar.n)
    writer.commit(len(paths), 0)


def _write_indices(folder, manifest):
  """Writes the missing .idx files, which Megatron-LM needs."""
  for shard in manifest.shards:
    path = folder / shard.file
    if not (index := path.with_suffix('.idx')).is_file():
      tokens = megatron_file.mapped(path, manifest.dtype)
      megatron_file.write_index(index, tokens, manifest.tokenizer['eos_id'])


def _write(writer, batch, tokens, shard_tokens):
  """Writes a batch; the document that fills a shard is its last one."""
  unit = 0
  while unit < len(tokens.lengths):
    rest = tokens[unit:]
    missing = shard_tokens - writer.tokens
    taken = int(np.searchsorted(np.cumsum(rest.lengths), missing)) + 1
    writer.write(rest[:taken])
    unit += taken
    if writer.tokens >= shard_tokens:
      writer.commit(batch.file, batch.first + unit)


def _bar(manifest):
  sizes = [x['bytes'] for x in manifest.inputs]
  done = sum(sizes[: manifest.file])
  return progress_bar(total=sum(sizes), initial=done, unit='B', unit_scale=True)
