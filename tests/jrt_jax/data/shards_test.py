import hashlib
import os

import numpy as np
import pytest

from jrt_jax.data import examples
from jrt_jax.data import manifest as manifests
from jrt_jax.data import pipeline
from jrt_jax.data import shards
from jrt_jax.data import splits as splits_lib
from jrt_jax.data import tokenizers


def write(folder, splits, complete=True, dtype='uint16'):
  """Writes a folder of shards: {split: [tokens of a shard]}."""
  manifest = manifests.Manifest(
      tokenizer={'fingerprint': 'bytes', 'size': 257, 'eos_id': 256},
      dtype=dtype,
      settings=manifests.Settings(format='text'),
      inputs=[{'path': 'a.txt', 'bytes': 9}],
      file=int(complete),
  )
  for split, parts in splits.items():
    for i, tokens in enumerate(parts):
      name = f'{split}-{i:05d}.bin'
      content = np.array(tokens, dtype).tobytes()
      (folder / name).write_bytes(content)
      digest = hashlib.sha256(content).hexdigest()
      shard = manifests.Shard(name, split, len(tokens), 1, digest)
      manifest.shards.append(shard)
  manifests.write(folder, manifest)
  return manifest


def read(folder, share=(0, 1), tokenizer=tokenizers.Bytes(), **changes):
  data = {
      'source': 'shards',
      'path': str(folder),
      'mixture': (),
      'validation_path': '',
      'validation_fraction': 0.2,
      'verify': True,
  }
  return splits_lib.token_streams(data | changes, tokenizer, share=share)


SPLITS = {
    'train': [range(30), range(30, 70), range(70, 75)],
    'validation': [range(100, 110), range(110, 120)],
}


@pytest.mark.parametrize('dtype', ['uint16', 'uint32'])
def test_shards_are_read_end_to_end(dtype, tmp_path):
  write(tmp_path, SPLITS, dtype=dtype)
  splits = read(tmp_path)
  assert splits['train'][:].tolist() == [*range(75)]
  assert splits['validation'][:].tolist() == [*range(100, 120)]
  assert splits['train'][:3].dtype == dtype


def test_shards_are_not_copied_into_memory(tmp_path):
  write(tmp_path, SPLITS)
  assert isinstance(read(tmp_path)['train'][3:9].base.base, np.memmap)


def test_without_held_out_documents_the_end_is_held_out(tmp_path):
  write(tmp_path, {'train': SPLITS['train']})
  splits = read(tmp_path)
  assert splits['train'][:].tolist() == [*range(60)]
  assert splits['validation'][:].tolist() == [*range(60, 75)]


def test_a_place_in_the_data_is_kept_across_shards(tmp_path):
  write(tmp_path, SPLITS)
  recipe = examples.Recipe(
      8,
      objective={'name': 'next_token', 'boundary': 'predict'},
      prefix={'name': 'none'},
      num_ids=257,
      mask_id=300,
  )
  options = dict(batch_size=3, seed=0, training=True, num_threads=2)
  uninterrupted = pipeline.batches(read(tmp_path)['train'], recipe, **options)
  for _ in range(4):
    next(uninterrupted)
  resumed = pipeline.batches(read(tmp_path)['train'], recipe, **options)
  resumed.set_state(uninterrupted.get_state())
  starts = set()
  for _ in range(6):  # two epochs of nine windows
    batch = next(resumed)
    np.testing.assert_equal(batch, next(uninterrupted))
    tokens, labels = batch['tokens'], batch['targets']
    np.testing.assert_array_equal(labels, tokens + 1)  # no seam between shards
    starts |= set(tokens[:, 0])
  assert starts == set(range(0, 72, 8))


def test_the_fingerprint_depends_on_the_content(tmp_path):
  write(tmp_path, SPLITS)
  fingerprint = read(tmp_path)['train'].fingerprint
  assert fingerprint.startswith('75 tokens ')
  assert read(tmp_path, verify=False)['train'].fingerprint == fingerprint
  write(tmp_path, SPLITS | {'train': [range(1, 76)]})
  assert read(tmp_path)['train'].fingerprint != fingerprint


def flip_a_bit(path):
  content, changed = bytearray(path.read_bytes()), path.stat().st_mtime_ns
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  os.utime(path, ns=(changed, changed + 1))  # clocks of disks may tick slowly


@pytest.mark.parametrize('name', ['train-00001.bin', 'validation-00000.bin'])
def test_a_flipped_bit_is_found(name, tmp_path):
  write(tmp_path, SPLITS)
  flip_a_bit(tmp_path / name)
  with pytest.raises(ValueError, match=f'damaged .* sha256: {name}; copy'):
    read(tmp_path)
  read(tmp_path, verify=False)


def test_processes_verify_a_share_each(tmp_path):
  write(tmp_path, SPLITS)
  flip_a_bit(tmp_path / 'train-00001.bin')
  found = []
  for part in range(3):
    try:
      read(tmp_path, share=(part, 3))
    except ValueError:
      found.append(part)
  assert found == [1]


def test_all_damaged_shards_are_named(tmp_path):
  manifest = write(tmp_path, SPLITS)
  for name in ('train-00000.bin', 'train-00002.bin'):
    flip_a_bit(tmp_path / name)
  with pytest.raises(ValueError, match='train-00000.bin, train-00002.bin;'):
    shards.verify(tmp_path, manifest.shards)


@pytest.fixture
def hashed(monkeypatch):
  """The names of the shards that are hashed, while they are."""
  names, original = [], shards._is_intact
  monkeypatch.setattr(
      shards,
      '_is_intact',
      lambda folder, bar, shard: names.append(shard.file)
      or original(folder, bar, shard),
  )
  return names


def test_a_shard_is_hashed_once_and_again_when_it_has_changed(tmp_path, hashed):
  manifest = write(tmp_path, SPLITS)
  for part in range(2):
    read(tmp_path, share=(part, 2))
  assert sorted(hashed) == sorted(shard.file for shard in manifest.shards)
  hashed.clear()
  read(tmp_path)
  assert not hashed
  flip_a_bit(tmp_path / 'train-00001.bin')
  for _ in range(2):  # what is damaged is not remembered
    with pytest.raises(ValueError, match='damaged'):
      read(tmp_path)
  assert hashed == ['train-00001.bin'] * 2


def test_shards_are_hashed_again_when_asked_for(tmp_path, hashed):
  manifest = write(tmp_path, SPLITS)
  read(tmp_path)
  hashed.clear()
  data = {
      'source': 'shards',
      'path': str(tmp_path),
      'mixture': (),
      'verify': True,
  }
  shards.forget_verified(data)
  read(tmp_path)
  assert sorted(hashed) == sorted(shard.file for shard in manifest.shards)


@pytest.mark.parametrize(
    'data',
    [
        {'source': 'text', 'verify': True},
        {'source': 'shards', 'verify': False},
    ],
)
def test_what_is_not_verified_cannot_be_verified_again(data):
  with pytest.raises(ValueError, match='--verify_data needs config.data.'):
    shards.forget_verified(data)


@pytest.mark.parametrize('verify', [True, False])
@pytest.mark.parametrize('change', [lambda x: x[:-1], lambda x: x + b'0'])
def test_a_shard_cut_off_or_longer_is_refused(change, verify, tmp_path):
  write(tmp_path, SPLITS)
  path = tmp_path / 'train-00001.bin'
  path.write_bytes(change(path.read_bytes()))
  with pytest.raises(ValueError, match='00001.bin must have 80 bytes, got'):
    read(tmp_path, verify=verify)


def test_a_missing_shard_is_refused(tmp_path):
  write(tmp_path, SPLITS)
  (tmp_path / 'train-00001.bin').unlink()
  with pytest.raises(FileNotFoundError, match='train-00001.bin does not exist'):
    read(tmp_path)


def test_unfinished_shards_are_refused(tmp_path):
  write(tmp_path, SPLITS, complete=False)
  with pytest.raises(ValueError, match='not finished, it has 0 of 1 files'):
    read(tmp_path)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
  for path in (tmp_path, tmp_path / 'nothing'):
    with pytest.raises(
        FileNotFoundError, match='jrt_jax.data.prepare writes such a folder'
    ):
      read(path)


def test_another_tokenizer_is_refused(tmp_path, monkeypatch):
  write(tmp_path, SPLITS)
  monkeypatch.setattr(tokenizers.Bytes, 'fingerprint', 'other')
  with pytest.raises(
      ValueError, match="made with, 'bytes', got 'other': .*='bytes'$"
  ):
    read(tmp_path)
  (tmp_path / 'tokenizer.json').touch()
  with pytest.raises(ValueError, match='=.*/tokenizer.json$'):
    read(tmp_path)


def test_the_folder_must_be_named():
  with pytest.raises(ValueError, match="config.data.path must be .*, got ''"):
    read('')


def test_a_validation_path_is_refused(tmp_path):
  write(tmp_path, SPLITS)
  with pytest.raises(ValueError, match='validation_path must be empty with'):
    read(tmp_path, validation_path='held_out')
