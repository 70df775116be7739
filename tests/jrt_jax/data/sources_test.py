import gzip
import json

import numpy as np
import pytest

from jrt_jax.data import sources

COMPRESS = {'.gz': gzip.compress, '.zst': sources.zstd.compress}


def read(name, path, validation_path='', text_key='text'):
  data = {
      'path': str(path),
      'validation_path': str(validation_path),
      'text_key': text_key,
  }
  documents = getattr(sources, name)(data)
  return {split: list(texts) for split, texts in documents.items()}


def size(documents):
  return sum(map(len, documents))


def test_the_standard_library_is_megabytes_with_a_twentieth_held_out():
  splits = sources.python_stdlib({})
  assert size(splits['train']) > 5e6
  fraction = size(splits['validation']) / size(splits['train'])
  assert 0.02 < fraction < 0.1


def test_the_standard_library_comes_in_the_same_order_each_time():
  assert sources.python_stdlib({}) == sources.python_stdlib({})


def test_no_held_out_source_is_in_the_training_documents():
  splits = sources.python_stdlib({})
  long = {text for text in splits['validation'] if len(text) > 1000}
  assert long.isdisjoint(splits['train'])


def test_the_standard_library_has_sources_and_help_but_no_tests():
  documents = dict(sources._stdlib_sources())
  assert b'class JSONDecoder' in documents['json/decoder.py']
  folders = {part for name in documents for part in name.split('/')[:-1]}
  assert folders.isdisjoint({'test', 'tests', 'site-packages', 'encodings'})
  documents = sources.python_stdlib({})['train']
  topics = [text for text in documents if isinstance(text, str)]
  assert any('"while" statement' in text for text in topics)


def test_a_python_without_sources_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(sources.sysconfig, 'get_path', lambda _: str(tmp_path))
  with pytest.raises(FileNotFoundError, match='needs the source files of the'):
    sources.python_stdlib({})


def test_text_files_are_documents_in_the_order_of_their_globs(tmp_path):
  for name in ('b1', 'b2', 'a[1]'):
    (tmp_path / f'{name}.txt').write_text(f'text {name}')
  with gzip.open(tmp_path / 'c.txt.gz', 'wt') as file:
    file.write('text c')
  path = f'{tmp_path}/c*,{tmp_path}/a[1].txt,{tmp_path}/b*.txt,{tmp_path}/b1*'
  expected = [b'text c', b'text a[1]', b'text b1', b'text b2']
  assert read('text', path) == {'train': expected}


@pytest.mark.parametrize(
    'content',
    [
        np.random.default_rng(0).bytes(300),
        'a text in UTF-16'.encode('utf-16'),
        'текст'.encode('koi8-r'),
        bytes(2**17),
    ],
)
def test_a_binary_file_is_refused_in_one_line(content, tmp_path):
  (tmp_path / 'a.txt').write_bytes(content)
  with pytest.raises(ValueError, match='a.txt must be text in UTF-8') as error:
    read('text', tmp_path / 'a.txt')
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        '日本語と\x1b[1mcolour\x1b[0m'.encode(),
        'd\xe9j\xe0 vu, a text in Latin-1 and its accents'.encode('latin-1'),
        b'page\x0c' + '語'.encode() * 2**16,  # the look ends within a character
    ],
)
def test_text_with_few_strange_characters_is_taken(content, tmp_path):
  (tmp_path / 'a.txt').write_bytes(content)
  assert read('text', tmp_path / 'a.txt') == {'train': [content]}


def test_a_validation_path_holds_documents_out(tmp_path):
  (tmp_path / 'a.txt').write_text('a')
  (tmp_path / 'b.txt').write_text('b')
  splits = read('text', tmp_path / 'a.txt', tmp_path / 'b.txt')
  assert splits == {'train': [b'a'], 'validation': [b'b']}


def test_lines_of_jsonl_are_documents(tmp_path):
  lines = [{'body': 'é', 'id': 1}, {'body': 'two\nlines'}]
  content = '\n\n'.join(json.dumps(line) for line in lines)
  (tmp_path / 'a.jsonl').write_text(content)
  with gzip.open(tmp_path / 'b.jsonl.gz', 'wt') as file:
    file.write('{"body": "three"}')
  splits = read('jsonl', tmp_path / '*.jsonl*', text_key='body')
  assert splits == {'train': ['é', 'two\nlines', 'three']}


def test_zstandard_files_may_have_several_frames(tmp_path):
  path = tmp_path / 'a.jsonl.zst'
  frames = [b'{"text": "o', b'ne"}\n{"text": "two"}']
  path.write_bytes(b''.join(map(COMPRESS['.zst'], frames)))
  assert read('jsonl', path) == {'train': ['one', 'two']}


@pytest.mark.parametrize('name', ['text', 'jsonl'])
@pytest.mark.parametrize('path', ['', 'nothing/*.txt', 'file.txt,nothing'])
def test_a_path_that_matches_nothing_is_refused(
    name, path, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'file.txt').write_text('text')
  (tmp_path / 'nothing').mkdir()
  with pytest.raises(FileNotFoundError, match='config.data.path must name'):
    read(name, path)
  with pytest.raises(FileNotFoundError, match='data.validation_path must name'):
    read(name, 'file.txt', path or ' ')


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"text": ', 'a.jsonl:2: not JSON'),
        ('[' * 10**5, 'a.jsonl:2: not JSON'),
        ('["text"]', 'a.jsonl:2: must be a JSON object, got a list'),
        ('{"a": 1, "b": 2}', "text_key='text' must name a string, .*'a', 'b'"),
        ('{"text": 7}', "a.jsonl:2: text_key='text' must name"),
    ],
)
def test_a_bad_line_is_named(line, message, tmp_path):
  (tmp_path / 'a.jsonl').write_text('{"text": "good"}\n' + line)
  with pytest.raises(ValueError, match=message):
    read('jsonl', tmp_path / 'a.jsonl')


@pytest.mark.parametrize('suffix', ['.gz', '.zst'])
@pytest.mark.parametrize('damage', [lambda x: x[:-9], lambda x: b'plain text'])
def test_a_broken_compressed_file_is_named(damage, suffix, tmp_path):
  path = tmp_path / f'a.txt{suffix}'
  path.write_bytes(damage(COMPRESS[suffix](b'text' * 100)))
  with pytest.raises(ValueError, match=f'a.txt{suffix}: broken {suffix} file'):
    read('text', path)
