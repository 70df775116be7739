"""The command `python -m jrt_jax.probe`, run as a user runs it."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def probe(*arguments):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.probe', *arguments],
      cwd=ROOT,
      capture_output=True,
      text=True,
  )


def test_one_probe_is_a_table_and_json(tmp_path):
  out = tmp_path / 'new' / 'probes.json'
  done = probe('--only=learned_prefix', '--seed=4', f'--out={out}')
  assert done.returncode == 0, done.stderr
  title, *lines = done.stdout.splitlines()
  assert title.startswith('Prefix lengths, learned')
  assert lines[-2:] == [f'wrote {out}', '4 of 4 expectations hold']
  record = json.loads(out.read_text())
  assert record['seeds'] == [4, 5, 6]
  (found,) = record['probes'].values()
  assert len(found['figures']['oracle']['reward']) == 3
  assert all(e['holds'] for e in found['expectations'])


def test_an_unknown_probe_is_one_line():
  done = probe('--only=needle,haystack')
  assert done.returncode == 2
  assert done.stderr == (
      'error: --only must name some of'
      " set_disjointness,capacity,needle,learned_prefix, got 'haystack'\n"
  )
  assert not done.stdout


@pytest.mark.slow
def test_all_figures_lie_in_their_ranges():
  done = probe('--seed=7')
  assert done.returncode == 0, done.stdout
