"""Data sets of the Hugging Face Hub, from a server that answers as it does."""

import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse

import pytest

from jrt_jax.data import hub
from jrt_jax.data import manifest as manifests

pa = pytest.importorskip('pyarrow')
pq = pytest.importorskip('pyarrow.parquet')
constants = pytest.importorskip('huggingface_hub.constants')

COMMIT = 'c0ffee' * 6 + 'c0ff'
TEXTS = {
    'default/train/0000.parquet': ['one', 'two', None],
    'default/train/0001.parquet': ['three'],
    'default/test/0000.parquet': ['four'],
    'default/large-part0/0000.parquet': ['five'],
    'default/large-part2/0000.parquet': ['six'],
    'default/large-part10/0000.parquet': ['last'],
    'old/partial-train/0000.parquet': ['seven'],
}


def parquet(texts):
  file = io.BytesIO()
  pq.write_table(pa.table({'text': pa.array(texts, pa.string())}), file)
  return file.getvalue()


FILES = {name: parquet(texts) for name, texts in TEXTS.items()}


class Hub(http.server.BaseHTTPRequestHandler):
  """Answers the requests of huggingface_hub for one data set."""

  def do_GET(self):
    path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
    if path.startswith('/api/datasets/me/texts/revision/'):
      names = [{'rfilename': name} for name in (*FILES, 'README.md')]
      self._json({'id': 'me/texts', 'sha': COMMIT, 'siblings': names})
    elif path.startswith(start := f'/api/datasets/me/texts/tree/{COMMIT}/'):
      folder = path.removeprefix(start)
      self._describe(x for x in FILES if x.startswith(f'{folder}/'))
    elif path.startswith(start := f'/datasets/me/texts/resolve/{COMMIT}/'):
      content = FILES[path.removeprefix(start)]
      first, last = re.findall(r'\d+', self.headers['range'])
      self._send(206, content[int(first) : int(last) + 1])
    else:
      self.send_error(404)

  def do_POST(self):
    size = int(self.headers['content-length'])
    asked = json.loads(self.rfile.read(size))['paths']
    self._describe(x for x in asked if x in FILES)

  def _describe(self, names):
    files = [
        {'type': 'file', 'path': x, 'size': len(FILES[x]), 'oid': 'a' * 40}
        for x in names
    ]
    self._json(files)

  def _json(self, content):
    self._send(200, json.dumps(content).encode())

  def _send(self, code, content):
    self.send_response(code)
    self.send_header('content-length', str(len(content)))
    self.end_headers()
    self.wfile.write(content)

  def log_message(self, *_):
    pass


@pytest.fixture
def endpoint(monkeypatch):
  """Makes a server on this machine the Hub."""
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  url = f'http://127.0.0.1:{server.server_port}'
  use(url, monkeypatch)
  yield url
  server.shutdown()
  server.server_close()


def use(url, monkeypatch):
  monkeypatch.setattr(constants, 'ENDPOINT', url)


def test_a_split_is_prepared_from_its_parquet_version(endpoint, tmp_path):
  command = [sys.executable, '-m', 'jrt_jax.data.prepare', f'--out={tmp_path}']
  end = subprocess.run(
      [*command, '--dataset=me/texts', '--validation_fraction=0'],
      env=os.environ | {'HF_ENDPOINT': endpoint, 'HF_HOME': str(tmp_path)},
      capture_output=True,
      text=True,
  )
  assert end.returncode == 0, end.stderr
  made = manifests.read(tmp_path)
  start = f'hf://datasets/me/texts@{COMMIT}/default/train/'
  assert made.complete
  assert made.inputs == [
      {'path': f'{start}{name}', 'bytes': len(FILES[f'default/train/{name}'])}
      for name in ('0000.parquet', '0001.parquet')
  ]
  [shard] = made.shards
  content = (tmp_path / shard.file).read_bytes()
  ids = memoryview(content).cast('H').tolist()
  assert ids == [*b'one', 256, *b'two', 256, *b'three', 256]


def test_a_split_may_be_divided_among_folders(endpoint):
  names = [
      url.partition('/default/')[2] for url in hub.find('me/texts', 'large')
  ]
  assert names == [f'large-part{i}/0000.parquet' for i in (0, 2, 10)]


@pytest.mark.parametrize(
    ('dataset', 'split', 'message'),
    [
        (
            'me/texts',
            'dev',
            "--split must be .* 'dev'; .* has large, test, train",
        ),
        ('me/texts:new', 'train', 'configurations are default, old'),
        ('me/texts:old', 'train', "only a part of the split 'train'"),
    ],
)
def test_what_the_data_set_does_not_have_is_refused(
    dataset, split, message, endpoint
):
  with pytest.raises(ValueError, match=message):
    hub.find(dataset, split)


def test_a_data_set_that_is_unknown_is_told_in_one_line(endpoint):
  with pytest.raises(OSError, match='--dataset=me/none cannot be') as error:
    hub.find('me/none', 'train')
  assert '\n' not in str(error.value)


def test_without_a_network_one_line_says_so(monkeypatch):
  use('http://127.0.0.1:9', monkeypatch)  # nobody listens there
  with pytest.raises(OSError, match='cannot be read from the Hugg') as error:
    hub.find('me/texts', 'train')
  assert '\n' not in str(error.value)


def test_without_the_package_one_line_names_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(ValueError, match=r"--dataset needs .*'\.\[parquet\]'"):
    hub.find('me/texts', 'train')
