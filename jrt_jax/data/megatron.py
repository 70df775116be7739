"""Reads the files of Megatron-LM and GPT-NeoX, such as the paper's Pile."""

import bisect
from collections.abc import Iterator, Mapping
import zlib

from absl import logging
import numpy as np

from jrt_jax import local_paths
from jrt_jax.data import megatron_file
from jrt_jax.data import packings
from jrt_jax.data import sources
from jrt_jax.data import streams
from jrt_jax.data import tokenizers

_PLACES = 64  # places in a file where tokens are checked
_TOKENS = 2**12  # tokens that are checked at each place


def open_splits(
    data: Mapping,
    tokenizer: tokenizers.Bytes | tokenizers.TokenizerJson,
    *,
    share: tuple[int, int] = (0, 1),
) -> dict[str, streams.TokenStream]:
  """Returns the splits of Megatron files, without copying tokens.

  Without `validation_path`, the last documents are held out: as few as contain
  `validation_fraction` of the tokens.

  Args:
    data: `config.data`: `path` and `validation_path` are comma-separated globs
      of files, without .bin and .idx.
    tokenizer: the tokenizer of the tokens; a sample of them is checked.
    share: ignored; there are no checksums to compare.

  Raises:
    ValueError: an index or its tokens are broken, or of another tokenizer.
    FileNotFoundError: a path matches no file.
  """
  del share
  paths = {'train': 'path', 'validation': 'validation_path'}
  files = {
      split: _open('config.data.' + key, data[key])
      for split, key in paths.items()
      if data[key] or split == 'train'
  }
  for split in files.values():
    for file in split:
      _check_tokens(file, tokenizer, data['packing'])
  if 'validation' in files:
    return {split: _stream(files[split]) for split in files}
  total = sum(len(file.tokens) for file in files['train'])
  end = _document_end(
      files['train'], total - int(data['validation_fraction'] * total)
  )
  return {
      'train': _stream(files['train'], 0, end),
      'validation': _stream(files['train'], end, total),
  }


def _open(key, patterns):
  """Returns the files that match, each once."""
  local_paths.check(key, patterns)
  indices = ','.join(
      pattern.removesuffix('.bin').removesuffix('.idx') + '.idx'
      for pattern in patterns.split(',')
  )
  return [
      megatron_file.MegatronFile(path.removesuffix('.idx'))
      for path in sources.find(key, indices)
  ]


def _stream(files, start=0, stop=None):
  arrays = [file.tokens for file in files]
  stop = sum(map(len, arrays)) if stop is None else stop
  checksums = ''.join(f'{file.checksum:08x}' for file in files)
  checksum = f'{zlib.crc32(checksums.encode()):08x}'
  return streams.TokenStream(streams.cut(arrays, start, stop), checksum)


def _document_end(files, tokens):
  """Returns the last end of a document that is not past `tokens`."""
  before = 0
  for file in files:
    if before + len(file.tokens) > tokens:
      documents = bisect.bisect(
          range(file.num_documents()), tokens - before, key=file.end
      )
      return before + (file.end(documents - 1) if documents else 0)
    before += len(file.tokens)
  return before


def _check_tokens(file, tokenizer, packing):
  for start, ids in _samples(file.tokens):
    wrong = (ids < 0) | (ids >= tokenizer.size)
    if wrong.any():
      i = int(wrong.argmax())
      raise ValueError(
          f'{file.bin}: tokens must be ids of config.data.tokenizer, from 0 to'
          f' {tokenizer.size - 1}, got {ids[i]} at token {start + i}'
      )
  _check_eos(file, tokenizer.eos_id, packing)


def _samples(tokens) -> Iterator[tuple[int, np.ndarray]]:
  """Yields samples of adjacent tokens and their positions, across the file."""
  for start in np.linspace(0, max(len(tokens) - _TOKENS, 0), _PLACES):
    yield int(start), tokens[int(start) : int(start) + _TOKENS]


def _check_eos(file, eos_id, packing):
  """Checks that documents end with eos; otherwise they cannot be separated."""
  if not len(file.tokens):
    return
  last = file.num_documents() - 1
  ends = {file.end(int(d)) for d in np.linspace(0, last, _PLACES)} - {0}
  without = sum(int(file.tokens[end - 1]) != eos_id for end in ends)
  if not without:
    return
  message = (
      f'{file.bin}: documents should end with token {eos_id}, the end of text'
      f' of config.data.tokenizer, but {without} of {len(ends)} that were'
      ' checked do not: the file was made without --append-eod, or with another'
      ' tokenizer'
  )
  if packings.PACKINGS[packing].separates:
    raise ValueError(
        f'{message}; config.data.packing={packing!r} needs these ends'
    )
  logging.warning(message)
