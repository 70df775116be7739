import dataclasses
import fcntl
import json
import shutil

import numpy as np
import pytest
import tokenizers as hf

from jrt_jax.data import manifest as manifests
from jrt_jax.data import megatron_file
from jrt_jax.data import preparation
from jrt_jax.data import shard_writer
from jrt_jax.data import splits as splits_lib
from jrt_jax.data import tokenizers

# Of 2 to 62 bytes, an empty one, and one that comes twice.
TEXTS = [f'{i} ' + 'x' * (i * 7 % 58) for i in range(200)]
TEXTS += ['', TEXTS[7]]
SETTINGS = manifests.Settings(
    format='jsonl', validation_fraction=0.1, shard_tokens=500
)


def prepare(folder, paths, tokenizer='bytes', workers=1, **changes):
  settings = dataclasses.replace(SETTINGS, **changes)
  return preparation.prepare(folder, paths, tokenizer, settings, workers)


def files(folder):
  """The bytes of shards and of their indices, by name."""
  paths = [*folder.glob('*.bin'), *folder.glob('*.idx')]
  return {path.name: path.read_bytes() for path in paths}


def tokens(folder, manifest, split):
  content = b''.join((folder / s.file).read_bytes() for s in manifest.of(split))
  return np.frombuffer(content, manifest.dtype)


def documents(ids):
  """The texts of a split, out of its tokens."""
  *texts, rest = ''.join('\0' if i == 256 else chr(i) for i in ids).split('\0')
  assert not rest
  return texts


def fail_after(parts, monkeypatch):
  """Makes the preparation fail when it has written so many parts."""
  commit = shard_writer.ShardWriter.commit
  calls = []

  def failing(writer, *place):
    calls.append(place)
    if len(calls) > parts:
      raise OSError('disk full')
    commit(writer, *place)

  monkeypatch.setattr(shard_writer.ShardWriter, 'commit', failing)


@pytest.fixture(scope='module')
def jsonl(tmp_path_factory):
  """The paths of two files with `TEXTS`, which tests leave as they are."""
  folder = tmp_path_factory.mktemp('jsonl')
  paths = [folder / 'a.jsonl', folder / 'b.jsonl']
  for path, part in zip(paths, (TEXTS[:130], TEXTS[130:])):
    path.write_text('\n'.join(json.dumps({'text': text}) for text in part))
  return [str(path) for path in paths]


@pytest.fixture(scope='module')
def prepared(jsonl, tmp_path_factory):
  """Their shards, which tests leave as they are, and the manifest."""
  folder = tmp_path_factory.mktemp('prepared')
  return folder, prepare(folder, jsonl)


@pytest.fixture
def copied(prepared, tmp_path):
  """A folder of these shards that may be damaged."""
  return shutil.copytree(prepared[0], tmp_path / 'copied')


def test_every_document_is_in_one_split_in_order(prepared):
  folder, manifest = prepared
  train = documents(tokens(folder, manifest, 'train'))
  held_out = documents(tokens(folder, manifest, 'validation'))
  assert 5 < len(held_out) < 50
  assert set(train).isdisjoint(held_out)  # also the one that comes twice
  rest = [text for text in TEXTS if text]
  assert train == [text for text in rest if text not in held_out]
  assert held_out == [text for text in rest if text in held_out]


def test_the_manifest_tells_what_is_in_the_shards(prepared, jsonl):
  folder, manifest = prepared
  assert manifest.complete
  assert manifests.read(folder) == manifest
  names = sorted(path.name for path in folder.glob('*.bin'))
  assert names == sorted(shard.file for shard in manifest.shards)
  for shard in manifest.shards:
    ids = np.frombuffer((folder / shard.file).read_bytes(), np.uint16)
    assert (shard.tokens, shard.documents) == (len(ids), (ids == 256).sum())
  assert [file['path'] for file in manifest.inputs] == jsonl


def test_a_part_ends_with_the_document_that_fills_it(prepared):
  _, manifest = prepared
  train, held_out = manifest.of('train'), manifest.of('validation')
  assert len(train) > 5
  assert len(held_out) <= len(train)  # a part may hold nothing out
  assert all(shard.tokens < 500 + 62 for shard in train)


def test_shards_are_files_of_megatron_too(prepared):
  folder, manifest = prepared
  data = {
      'source': 'megatron',
      'path': str(folder / 'train-*'),
      'mixture': (),
      'validation_path': str(folder / 'validation-*'),
      'validation_fraction': 0.2,
      'packing': 'documents',
  }
  splits = splits_lib.token_streams(data, tokenizers.Bytes())
  for split, stream in splits.items():
    np.testing.assert_array_equal(stream[:], tokens(folder, manifest, split))
  for shard in manifest.shards:
    prefix = str(folder / shard.file).removesuffix('.bin')
    file = megatron_file.MegatronFile(prefix)
    assert file.num_documents() == shard.documents


def test_shards_of_earlier_versions_get_their_indices(prepared, jsonl, copied):
  for path in copied.glob('*.idx'):
    path.unlink()
  assert prepare(copied, jsonl) == prepared[1]
  assert files(copied) == files(prepared[0])


def test_indices_of_what_was_there_before_are_made_anew(
    prepared, jsonl, tmp_path
):
  (tmp_path / 'train-00000.idx').write_bytes(b'of other text')
  prepare(tmp_path, jsonl)
  assert files(tmp_path) == files(prepared[0])


def test_the_bytes_do_not_depend_on_workers(prepared, jsonl, tmp_path):
  prepare(tmp_path / 'other', jsonl, workers=3)
  assert files(tmp_path / 'other') == files(prepared[0])


@pytest.mark.parametrize('parts', [0, 1, 4])
def test_what_failed_is_continued_to_the_same_bytes(
    parts, prepared, jsonl, tmp_path, monkeypatch
):
  folder = tmp_path / 'other'
  with monkeypatch.context() as patch:
    fail_after(parts, patch)
    with pytest.raises(OSError, match='disk full'):
      prepare(folder, jsonl)
  done = manifests.read(folder)
  assert not done.complete and len(done.of('train')) == parts
  assert prepare(folder, jsonl) == prepared[1]
  assert files(folder) == files(prepared[0])
  assert not list(folder.glob('*.tmp'))


@pytest.mark.parametrize('parts', [0, 3])
def test_parquet_becomes_the_same_shards_and_continues(
    parts, prepared, tmp_path, monkeypatch
):
  pa, pq = map(pytest.importorskip, ('pyarrow', 'pyarrow.parquet'))
  paths = []
  for name, part in zip('ab', (TEXTS[:130], TEXTS[130:])):
    paths.append(str(tmp_path / f'{name}.parquet'))
    table = pa.table({'text': part})
    pq.write_table(table, paths[-1], row_group_size=50)
  folder = tmp_path / 'out'
  with monkeypatch.context() as patch:
    fail_after(parts, patch)
    with pytest.raises(OSError, match='disk full'):
      prepare(folder, paths, format='parquet')
  manifest = prepare(folder, paths, format='parquet')
  assert manifest.complete and manifest.shards == prepared[1].shards
  assert files(folder) == files(prepared[0])


def test_what_is_complete_is_left_alone(prepared, jsonl, monkeypatch):
  monkeypatch.setattr(preparation.tokenization, 'tokenize_all', None)
  assert prepare(prepared[0], jsonl) == prepared[1]


def test_a_copy_of_the_tokenizer_is_beside_its_shards(jsonl, tmp_path):
  vocabulary = {'</s>': 0, 'x': 1}
  tokenizer = hf.Tokenizer(hf.models.WordLevel(vocabulary, unk_token='x'))
  path = tmp_path / 'my.json'
  tokenizer.save(str(path))
  manifest = prepare(tmp_path / 'out', jsonl, str(path))
  copy = tmp_path / 'out' / 'tokenizer.json'
  assert copy.read_bytes() == path.read_bytes()
  assert (manifest.tokenizer['size'], manifest.tokenizer['eos_id']) == (2, 0)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'text_key': 'body'}, "was started with text_key 'text', got 'body'"),
        ({'shard_tokens': 9}, 'was started with shard_tokens 500, got 9'),
        (
            {'validation_fraction': 0.2},
            'was started with validation_fraction 0.1, got 0.2',
        ),
    ],
)
def test_other_settings_are_refused(changes, message, prepared, jsonl):
  with pytest.raises(ValueError, match=f'{message}: use another --out'):
    prepare(prepared[0], jsonl, **changes)


def test_other_text_is_refused(prepared, jsonl, monkeypatch):
  folder, _ = prepared
  with pytest.raises(ValueError, match='bytes of .*b.jsonl [0-9]+, got None'):
    prepare(folder, jsonl[:1])
  with pytest.raises(ValueError, match="order of files .*'bytes of .*b.jsonl'"):
    prepare(folder, jsonl[::-1])
  monkeypatch.setattr(preparation.sources, 'size', lambda path: 7)
  with pytest.raises(ValueError, match='bytes of .*a.jsonl [0-9]+, got 7'):
    prepare(folder, jsonl)


def test_another_tokenizer_is_refused(prepared, jsonl, tmp_path):
  tokenizer = hf.Tokenizer(hf.models.WordLevel({'</s>': 0}, unk_token='</s>'))
  tokenizer.save(str(tmp_path / 'my.json'))
  with pytest.raises(
      ValueError, match="was started with tokenizer 'bytes', got"
  ):
    prepare(prepared[0], jsonl, str(tmp_path / 'my.json'))


def test_a_damaged_folder_is_not_continued(copied, jsonl):
  (copied / 'train-00001.bin').unlink()
  with pytest.raises(FileNotFoundError, match='train-00001.bin does not exist'):
    prepare(copied, jsonl)


def test_two_at_once_in_a_folder_are_refused(prepared, jsonl):
  folder, _ = prepared
  with open(folder / 'lock', 'w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match='in use by another process'):
      prepare(folder, jsonl)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'workers': 0}, 'workers must be positive, got 0'),
        ({'shard_tokens': 0}, 'shard_tokens must be positive, got 0'),
        ({'validation_fraction': 1.0}, r'must lie in \[0, 1\), got 1.0'),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    changes, message, jsonl, tmp_path
):
  with pytest.raises(ValueError, match=message):
    prepare(tmp_path / 'out', jsonl, **changes)


def test_more_files_than_a_manifest_may_name_are_refused(tmp_path):
  paths = ['a.jsonl'] * (10**6 + 1)
  message = 'the input must be at most 1,000,000 files, got 1,000,001'
  with pytest.raises(ValueError, match=message):
    prepare(tmp_path / 'out', paths)
  assert not (tmp_path / 'out').exists()


def test_a_bad_line_ends_the_work_with_its_name(jsonl, tmp_path):
  bad = tmp_path / 'bad.jsonl'
  bad.write_text('{"text": "x"}\n{"body": "no text"}')
  with pytest.raises(ValueError, match='bad.jsonl:2: text_key='):
    prepare(tmp_path / 'out', [*jsonl, str(bad)])
  manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
  assert manifest['shards']  # what came before is kept
