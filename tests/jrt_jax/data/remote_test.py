import gzip
import json

import fsspec
import pytest

from jrt_jax.data import manifest as manifests
from jrt_jax.data import preparation
from jrt_jax.data import remote
from jrt_jax.data import sources

TEXTS = [f'text {i}' for i in range(50)]


@pytest.fixture
def bucket():
  """A folder of a file system that is not this machine's."""
  files = fsspec.filesystem('memory')
  files.store.clear()
  lines = '\n'.join(json.dumps({'text': text}) for text in TEXTS).encode()
  files.pipe('/bucket/b.jsonl', lines)
  files.pipe('/bucket/a.jsonl.gz', gzip.compress(lines))
  files.pipe('/bucket/deep/c.jsonl', lines)
  yield files
  files.store.clear()


def test_urls_and_globs_find_files_in_order(bucket):
  found = sources.find('--input', 'memory://bucket/*.jsonl*')
  assert [url.rpartition('/')[2] for url in found] == ['a.jsonl.gz', 'b.jsonl']
  assert all(url.startswith('memory://') for url in found)
  assert sources.find('--input', found[0]) == found[:1]
  assert len(sources.find('--input', 'memory://bucket/**/*.jsonl')) == 2


def test_what_no_file_matches_is_refused(bucket):
  with pytest.raises(FileNotFoundError, match='--input must name files, got'):
    sources.find('--input', 'memory://bucket/*.txt')


@pytest.mark.parametrize('name', ['b.jsonl', 'a.jsonl.gz'])
def test_text_of_a_url_is_that_of_a_file(name, bucket, tmp_path):
  copy = tmp_path / name
  copy.write_bytes(bucket.cat(f'/bucket/{name}'))
  url = f'memory://bucket/{name}'
  assert sources.size(url) == copy.stat().st_size
  lines = []
  for path in (url, str(copy)):
    with sources.open_text(path) as (file, raw):
      lines.append(file.readlines())
      assert raw.tell() == copy.stat().st_size
  assert lines[0] == lines[1] and len(lines[0]) == len(TEXTS)


def test_what_urls_name_is_prepared_and_continues(bucket, tmp_path):
  settings = manifests.Settings(format='jsonl', shard_tokens=200)
  paths = sources.find('--input', 'memory://bucket/*.jsonl*')
  made = preparation.prepare(tmp_path / 'out', paths, 'bytes', settings, 1)
  assert made.complete
  assert [x['path'] for x in made.inputs] == paths
  assert sum(shard.documents for shard in made.shards) == 2 * len(TEXTS)
  again = preparation.prepare(tmp_path / 'out', paths, 'bytes', settings, 1)
  assert again == made
  bucket.pipe('/bucket/b.jsonl', b'{"text": "other"}')
  with pytest.raises(ValueError, match='was started with bytes of memory://'):
    preparation.prepare(tmp_path / 'out', paths, 'bytes', settings, 1)


@pytest.mark.parametrize(
    ('url', 'message'),
    [
        ('nowhere://a/b.txt', 'nowhere://a/b.txt cannot be read: Protocol not'),
        ('s3://a/b.txt', 's3://a/b.txt cannot be read: Install s3fs'),
    ],
)
def test_a_place_that_cannot_be_read_is_told_in_one_line(
    url, message, monkeypatch
):
  monkeypatch.setitem(__import__('sys').modules, 's3fs', None)
  with pytest.raises(ValueError, match=message) as error:
    remote.find(url)
  assert '\n' not in str(error.value)


def test_a_connection_that_breaks_is_told_in_one_line(bucket, monkeypatch):
  def broken(*_):
    raise RuntimeError('connection\nreset')  # of a library, not an OSError

  with remote.open_binary('memory://bucket/b.jsonl') as file:
    assert file.read(3) == b'{"t'
    monkeypatch.setattr(file.raw._file, 'read', broken, raising=False)
    with pytest.raises(OSError, match='b.jsonl cannot .*: connection reset$'):
      file.seek(0, 2)
      file.seek(2**21)
      file.read(1)
