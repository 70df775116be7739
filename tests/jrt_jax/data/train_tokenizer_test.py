"""The command itself: `python -m jrt_jax.data.train_tokenizer`."""

import gzip
import json
import subprocess
import sys

from jrt_jax.data import tokenizers


def run(*arguments):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.data.train_tokenizer', *arguments],
      capture_output=True,
      text=True,
  )


def test_a_tokenizer_is_trained_on_files_and_written_whole(tmp_path):
  texts = [f'case {i % 3} of the state' for i in range(40)]
  with gzip.open(tmp_path / 'a.jsonl.gz', 'wt') as file:
    file.writelines(json.dumps({'body': text}) + '\n' for text in texts)
  out = tmp_path / 'new' / 'tokenizer.json'
  out.parent.mkdir()
  done = run(
      f'--input={tmp_path}/*.gz',
      '--text_key=body',
      '--vocab_size=263',
      f'--out={out}',
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == f'{out}: 263 ids'
  assert [path.name for path in out.parent.iterdir()] == ['tokenizer.json']
  tokenizer = tokenizers.load(str(out))
  assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]
