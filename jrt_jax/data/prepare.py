r"""Tokenizes text into shards, which training maps into memory.

python -m jrt_jax.data.prepare --input='pile/*.jsonl.zst' \
    --tokenizer=gpt2/tokenizer.json --out=shards/pile

If it is interrupted or killed, the same command continues; the shards are the
same byte for byte. `python -m jrt_jax.data.prepare --verify --out=shards/pile`
compares the shards with their checksums. A shard is a pair of .bin and .idx
files as in Megatron-LM. Exit codes: 0 for success, 2 for a mistake in the
command or in the text, 130 after Ctrl-C.
"""

import pathlib
import shlex
import sys
import time

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax.command_line import text_flags
from jrt_jax.data import hub
from jrt_jax.data import manifest as manifests
from jrt_jax.data import preparation
from jrt_jax.data import shards
from jrt_jax.data import sources

_INPUT = flags.DEFINE_string(
    'input',
    None,
    'Comma-separated globs of .jsonl or text files, plain, .gz or .zst, or of'
    ' .parquet files; also URLs that fsspec reads, such as s3://….',
)
_DATASET = flags.DEFINE_string(
    'dataset',
    None,
    'In place of --input: OWNER/NAME or OWNER/NAME:CONFIG, a data set of the'
    ' Hugging Face Hub, which is read from there as Parquet.',
)
_SPLIT = flags.DEFINE_string('split', 'train', 'The split of --dataset.')
_OUT = flags.DEFINE_string('out', None, 'The folder of the shards.')
_TOKENIZER = flags.DEFINE_string(
    'tokenizer', 'bytes', 'The path of a tokenizer.json, or bytes.'
)
_reading = text_flags.define()
_VALIDATION_FRACTION = flags.DEFINE_float(
    'validation_fraction',
    0.01,
    'The fraction of documents that is held out; their content decides which.',
)
_SHARD_TOKENS = flags.DEFINE_integer(
    'shard_tokens',
    2**27,
    'Tokens of a shard; a crash loses at most the work of one shard.',
)
_PROCESSES = flags.DEFINE_integer(
    'processes',
    None,
    'Number of processes that tokenize; default: one for each core.',
)
_VERIFY = flags.DEFINE_bool(
    'verify', False, 'Compare the shards with their checksums.'
)


def main(argv: list[str]) -> None:
  del argv
  try:
    with command_line.one_line_errors():
      given = [flag for flag in (_INPUT, _DATASET) if flag.value]
      if not _OUT.value or not (given or _VERIFY.value):
        raise ValueError(
            '--out=DIR must be given, with --input=FILES or --verify'
        )
      if len(given) > 1:
        raise ValueError('--input and --dataset must not both be given')
      folder = pathlib.Path(_OUT.value).expanduser()
      if given:
        command_line.output_folder(_OUT)
        _prepare(folder)
      if _VERIFY.value:
        _verify(folder)
  except KeyboardInterrupt:
    print('\ninterrupted: the same command continues', file=sys.stderr)
    sys.exit(command_line.INTERRUPTED)


def _prepare(folder):
  if _DATASET.value:
    paths = hub.find(_DATASET.value, _SPLIT.value)
  else:
    paths = sources.find('--input', _INPUT.value)
  settings = manifests.Settings(
      **_reading(paths),
      validation_fraction=_VALIDATION_FRACTION.value,
      shard_tokens=_SHARD_TOKENS.value,
  )
  workers = shards.num_cores() if _PROCESSES.value is None else _PROCESSES.value
  before = manifests.read(folder).tokens if manifests.exists(folder) else 0
  start = time.perf_counter()
  manifest = preparation.prepare(
      folder, paths, _TOKENIZER.value, settings, workers
  )
  seconds = time.perf_counter() - start
  print(_summary(folder, manifest))
  if new := manifest.tokens - before:
    print(f'{new / seconds:,.0f} tokens/s ({new:,} in {seconds:,.0f} s)')
  print(_how_to_train(folder))


def _summary(folder, manifest):
  lines = []
  for split in ('train', 'validation'):
    files = manifest.of(split)
    documents = sum(shard.documents for shard in files)
    tokens = sum(shard.tokens for shard in files)
    lines.append(
        f'{split:<11} {tokens:>18,} tokens {documents:>14,} documents'
        f' {len(files):>7,} shards'
    )
  if not manifest.of('validation'):
    lines.append(
        'No document is held out: training holds out the end of the tokens'
        ' (config.data.validation_fraction).'
    )
  return '\n'.join([f'{folder}:', *lines])


def _how_to_train(folder):
  copy = folder / 'tokenizer.json'
  flags = {
      'config': 'configs/jrt_tiny.py',
      'workdir': f'runs/{folder.resolve().name}',
      'config.data.source': 'shards',
      'config.data.path': folder,
      'config.data.tokenizer': copy if copy.is_file() else 'bytes',
  }
  command = [f'--{name}={value}' for name, value in flags.items()]
  return (
      'to train on it, with this or any other config:\npython -m'
      f' jrt_jax.train {shlex.join(command)}'
  )


def _verify(folder):
  manifest = manifests.read(folder)
  shards.check_sizes(folder, manifest)
  shards.verify(folder, manifest.shards)
  print(f'{len(manifest.shards):,} shards in {folder} match their checksums')


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
