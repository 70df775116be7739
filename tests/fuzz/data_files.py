"""READERS of text and of tokens, as training reads them."""

import dataclasses
import json
import struct

import tokenizers as hf

from configs import base
from fuzz.reader import Reader
from jrt_jax.data import manifest as manifests
from jrt_jax.data import megatron_file
from jrt_jax.data import parquet
from jrt_jax.data import shards
from jrt_jax.data import sources
from jrt_jax.data import tokenizers


def _write_manifest(folder):
  shard = manifests.Shard('a.bin', 'train', 4, 1, 'ab')
  manifests.write(
      folder,
      manifests.Manifest(
          tokenizer={'fingerprint': 'bytes', 'size': 257, 'eos_id': 256},
          dtype='uint16',
          settings=manifests.Settings(format='text'),
          inputs=[{'path': 'a.txt', 'bytes': 3}],
          shards=[shard, dataclasses.replace(shard, split='validation')],
          file=1,
      ),
  )
  (folder / 'a.bin').write_bytes(bytes(8))


def _read_shards(folder):
  data = base.get_config().data.to_dict()
  data |= {'path': str(folder), 'verify': False}
  shards.open_splits(data, tokenizers.Bytes())


def _write_text(folder):
  records = [{'text': 'a', 'id': 1}, {'text': 'b'}]
  (folder / 'a.jsonl').write_text('\n'.join(map(json.dumps, records)))


def _read_text(folder):
  with sources.open_text(str(folder / 'a.jsonl')) as (lines, _):
    for line in lines:
      sources.record(line, 'text', 'a.jsonl')


def _write_parquet(folder):
  import pyarrow  # an extra
  from pyarrow import parquet as files

  table = pyarrow.table({'text': ['a', None, 'bc'] * 3, 'id': range(9)})
  files.write_table(table, folder / 'a.parquet', row_group_size=4)


def _read_parquet(folder):
  path = str(folder / 'a.parquet')
  with open(path, 'rb') as file:
    list(parquet.TextColumn(file, path, 'text').rows())


def _write_megatron(folder):
  header = struct.pack('<9sQBQQ', b'MMIDIDX', 1, 8, 2, 3)
  arrays = struct.pack('<2i2q3q', 2, 1, 0, 4, 0, 1, 2)
  (folder / 'a.idx').write_bytes(header + arrays)
  (folder / 'a.bin').write_bytes(bytes(6))


def _read_megatron(folder):
  file = megatron_file.MegatronFile(str(folder / 'a'))
  for i in range(file.num_documents()):
    file.tokens[: file.end(i)]


def _write_tokenizer(folder):
  tokenizer = hf.Tokenizer(hf.models.BPE())
  tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = hf.decoders.ByteLevel()
  trainer = hf.trainers.BpeTrainer(
      vocab_size=270,
      special_tokens=['<|endoftext|>'],
      initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
      show_progress=False,
  )
  tokenizer.train_from_iterator(['the cat sat on the mat'], trainer)
  tokenizer.save(str(folder / 'tokenizer.json'))


READERS = {
    'manifest': Reader('manifest.json', 'json', _write_manifest, _read_shards),
    'text': Reader('a.jsonl', 'jsonl', _write_text, _read_text),
    'parquet': Reader('a.parquet', 'bytes', _write_parquet, _read_parquet),
    'megatron': Reader('a.idx', 'bytes', _write_megatron, _read_megatron),
    'tokenizer': Reader(
        'tokenizer.json',
        'json',
        _write_tokenizer,
        lambda folder: tokenizers.load(str(folder / 'tokenizer.json')),
    ),
}
