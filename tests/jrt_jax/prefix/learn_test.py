"""The command `python -m jrt_jax.prefix.learn`, run as a user runs it."""

import json

import numpy as np

from jrt_jax.prefix import fitting
from jrt_jax.prefix.learned import plays
from jrt_jax.prefix.learned import simulation


def test_a_table_of_plays_becomes_a_policy(command, settings, tmp_path):
  table = simulation.table(200, np.random.default_rng(0), length=64)
  plays.save(tmp_path / 'plays.npz', table, 'bytes')
  out = tmp_path / 'policy.json'
  done = command('learn', f'--table={tmp_path}/plays.npz', f'--out={out}')
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == f'wrote {out}'
  saved = json.loads(out.read_text())
  line = next(x for x in done.stdout.splitlines() if x.startswith('full fe'))
  assert f'{saved["mean_fraction"]:.3f}' == line.split()[4]
  prefix = settings(name='learned', file=str(out))
  fitted = fitting.fitted(prefix, None, sequence_length=64, tokenizer='bytes')
  assert fitted['fitted'] == saved


def test_a_missing_table_is_one_line(error_line, command):
  done = command('learn', '--table=no.npz')
  assert done.returncode == 2
  assert error_line(done.stderr) == (
      "error: --table must be a file that can be read, got 'no.npz': No such file"
      ' or directory'
  )
