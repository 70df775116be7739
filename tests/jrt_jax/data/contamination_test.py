"""The command itself: `python -m jrt_jax.data.contamination`."""

import gzip
import json
import subprocess
import sys

import pytest

SECRET = (
    'the assay measured troponin in plasma of forty two patients at one site'
)
PHRASE = 'all regulatory requirements of the act have been met by this one here'
CLEAN = 'congress shall assemble and hear of the state of the union this year'


def run(*arguments):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.data.contamination', *arguments],
      capture_output=True,
      text=True,
  )


def write_rows(path, *rows):
  with gzip.open(path, 'wt') as file:
    file.writelines(json.dumps(row) + '\n' for row in rows)


def test_documents_that_share_thirteen_words_with_a_row_are_left_out(tmp_path):
  write_rows(
      tmp_path / 'a.jsonl.gz',
      {'docs': [f'At first {SECRET.upper()}!'], 'answer': 'troponin'},
      {'question': PHRASE},
      {'question': 'too short'},
  )
  write_rows(tmp_path / 'b.jsonl.gz', {'text': f'other words {SECRET[:40]}'})
  leak = f'we read: {SECRET.replace(" in ", ", in ")}.'
  kept = [f'{PHRASE} {i}' for i in range(3)] + [CLEAN, SECRET[:50]]
  (tmp_path / 'train.txt').write_text('<|endoftext|>'.join([leak, *kept]))
  done = run(
      f'--input={tmp_path}/train.txt',
      f'--rows={tmp_path}/*.jsonl.gz',
      '--common=2',
      f'--out={tmp_path}/clean.jsonl.gz',
  )
  assert done.returncode == 0, done.stderr
  head, a, b, *summary = done.stdout.splitlines()
  assert head.split()[0] == 'rows'
  assert a.split() == ['3', '1', '1', '2', '1', 'a.jsonl.gz']
  assert b.split() == ['1', '1', '0', '0', '0', 'b.jsonl.gz']
  assert ' '.join(map(str.strip, summary)) == (
      '5 documents share no 13-gram with any row; n-grams in more than 2'
      ' documents do not count'
  )
  with gzip.open(tmp_path / 'clean.jsonl.gz', 'rt') as file:
    assert [json.loads(line)['text'] for line in file] == kept


@pytest.mark.parametrize(
    'name',
    ['train.jsonl', pytest.param('new.jsonl.zst', marks=pytest.mark.slow)],
)
def test_nothing_is_written_over_nor_as_what_it_is_not(
    error_line, tmp_path, name
):
  train = tmp_path / 'train.jsonl'
  train.write_text(json.dumps({'text': CLEAN}))
  out = f'--out={tmp_path}/{name}'
  done = run(f'--input={train}', f'--rows={train}', out)
  assert done.returncode == 2
  assert error_line(done.stderr).startswith(
      f"error: --out must be a new .jsonl or .jsonl.gz, got '{tmp_path}/{name}'"
  )
  assert json.loads(train.read_text()) == {'text': CLEAN}
  assert [*tmp_path.iterdir()] == [train]
