"""The command `python -m jrt_jax.prefix.learn`, run as a user runs it."""

import json

import numpy as np

from jrt_jax.prefix import fitting
from jrt_jax.prefix.learned import comparison
from jrt_jax.prefix.learned import simulation
from jrt_jax.prefix.learned import trials


def test_a_table_of_trials_becomes_a_policy(command, settings, tmp_path):
  table = simulation.table(200, np.random.default_rng(0), length=64)
  trials.save(tmp_path / 'trials.npz', table, 'bytes')
  out = tmp_path / 'policy.json'
  done = command('learn', f'--trials={tmp_path}/trials.npz', f'--out={out}')
  assert done.returncode == 0, done.stderr
  header, *lines, wrote = done.stdout.splitlines()
  assert header.split()[:2] == ['reward', 'score']
  assert wrote == f'wrote {out}'
  saved = json.loads(out.read_text())
  of_policies = {line[:17].strip(): line[17:].split() for line in lines}
  assert {*comparison.LEARNED, 'best fixed', 'oracle'} < of_policies.keys()
  assert of_policies['full feedback'][2] == f'{saved["mean_fraction"]:.3f}'
  prefix = settings(name='learned', file=str(out))
  fitted = fitting.fitted(prefix, None, sequence_length=64, tokenizer='bytes')
  assert fitted['fitted'] == saved


def test_a_missing_table_is_one_line(error_line, command):
  done = command('learn', '--trials=no.npz')
  assert done.returncode == 2
  assert error_line(done.stderr) == (
      "error: --trials must be a file that can be read, got 'no.npz': No such"
      ' file or directory'
  )
