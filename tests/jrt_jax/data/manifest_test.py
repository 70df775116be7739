import dataclasses
import json

import pytest

from jrt_jax.data import manifest as manifests

MANIFEST = manifests.Manifest(
    tokenizer={'fingerprint': 'bytes', 'size': 257, 'eos_id': 256},
    dtype='uint16',
    settings=manifests.Settings(format='text'),
    inputs=[{'path': 'a.txt', 'bytes': 3}],
    shards=[
        manifests.Shard('train-00000.bin', 'train', 4, 1, 'ab'),
        manifests.Shard('validation-00000.bin', 'validation', 2, 1, 'cd'),
    ],
)


def test_a_manifest_is_read_as_it_was_written(tmp_path):
  assert not manifests.exists(tmp_path)
  manifests.write(tmp_path, MANIFEST)
  assert manifests.exists(tmp_path)
  assert manifests.read(tmp_path) == MANIFEST
  assert [path.name for path in tmp_path.iterdir()] == ['manifest.json']


def test_a_large_manifest_is_read(tmp_path):
  manifests.write(tmp_path, MANIFEST)
  with open(tmp_path / 'manifest.json', 'a') as file:
    file.write(' ' * 2**26)
  assert manifests.read(tmp_path) == MANIFEST


def test_the_most_files_and_shards_can_be_read(tmp_path):
  inputs = [{'path': 'x' * 160, 'bytes': 10**12}]
  shards = [
      manifests.Shard('train-0000000.bin', 'train', 10**9, 10**9, 'a' * 64)
  ]

  def size(n):
    manifest = dataclasses.replace(
        MANIFEST, inputs=n * inputs, shards=n * shards
    )
    manifests.write(tmp_path, manifest)
    return (tmp_path / 'manifest.json').stat().st_size

  most = manifests.MOST_INPUTS * (size(2) - size(1))
  assert most < manifests._MOST_BYTES


def test_what_could_not_be_read_is_not_written(tmp_path, monkeypatch):
  manifests.write(tmp_path, MANIFEST)
  monkeypatch.setattr(manifests, '_MOST_BYTES', 999)
  long = [{'path': 'x' * 999, 'bytes': 3}]
  with pytest.raises(ValueError, match='manifest.json.* at most 999 bytes'):
    manifests.write(tmp_path, dataclasses.replace(MANIFEST, inputs=long))
  assert manifests.read(tmp_path) == MANIFEST


def test_a_manifest_is_complete_after_its_last_file():
  assert not MANIFEST.complete
  assert dataclasses.replace(MANIFEST, file=1).complete


def test_tokens_are_counted_over_all_splits():
  assert MANIFEST.tokens == 6
  assert [shard.tokens for shard in MANIFEST.of('validation')] == [2]


def test_a_missing_manifest_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='manifest.json does not exist'):
    manifests.read(tmp_path)


def without(key):
  return lambda fields: {k: v for k, v in fields.items() if k != key}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda fields: fields | {'version': 2}, 'version must be 1, got 2'),
        (without('version'), 'version must be given'),
        (without('shards'), 'shards must be given'),
        (without('dtype'), 'dtype must be given'),
        (lambda fields: fields | {'dtype': 'O'}, "dtype must be .*, got 'O'"),
        (lambda fields: fields | {'other': 1}, "must not have the key 'other'"),
        (lambda fields: fields | {'shards': [{}]}, r'shards\[0\].file must be'),
        (lambda fields: fields | {'shards': {}}, 'shards must be a list'),
        (lambda fields: fields | {'file': -1}, 'file must be a whole number'),
        (lambda fields: [fields], 'must be an object'),
    ],
)
def test_a_manifest_of_another_kind_is_refused(change, message, tmp_path):
  manifests.write(tmp_path, MANIFEST)
  path = tmp_path / 'manifest.json'
  path.write_text(json.dumps(change(json.loads(path.read_text()))))
  with pytest.raises(ValueError, match=f'manifest.json: {message}'):
    manifests.read(tmp_path)


def test_a_manifest_that_was_cut_off_is_refused(tmp_path):
  manifests.write(tmp_path, MANIFEST)
  path = tmp_path / 'manifest.json'
  path.write_bytes(path.read_bytes()[:-20])
  with pytest.raises(ValueError, match='manifest.json must be JSON'):
    manifests.read(tmp_path)


@pytest.mark.parametrize('name', ['../a.bin', '/etc/passwd', '', 'a\nb'])
def test_a_shard_elsewhere_is_refused(tmp_path, name):
  shard = manifests.Shard(name, 'train', 4, 1, 'ab')
  manifests.write(tmp_path, dataclasses.replace(MANIFEST, shards=[shard]))
  with pytest.raises(ValueError, match='shards must be in the same folder'):
    manifests.read(tmp_path)
