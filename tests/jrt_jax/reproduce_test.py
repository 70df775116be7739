"""The command `python -m jrt_jax.reproduce`, run as a user runs it."""

import json

import pytest


def test_one_exhibit_is_json_and_a_page(run_command, tmp_path):
  out = tmp_path / 'new'
  done = run_command('jrt_jax.reproduce', 'jrt_prompt', f'--out={out}')
  assert done.returncode == 0, done.stderr
  first, verdict, *_, last = done.stdout.splitlines()
  assert first.startswith('jrt_prompt published: ')
  assert verdict.startswith('jrt_prompt: recomputed from published figures.')
  assert last == f'wrote {out}/index.html'
  found = json.loads((out / 'jrt_prompt.json').read_text())
  assert (
      found['command'] == 'python -m jrt_jax.reproduce jrt_prompt --scale=cpu'
  )
  assert 'Not measured' in (out / 'index.html').read_text()  # the others


@pytest.mark.slow
def test_the_scale_of_the_paper_is_told_and_not_measured(run_command):
  done = run_command('jrt_jax.reproduce', 'feature_maps', '--scale=paper')
  assert done.returncode == 0, done.stderr
  assert ' H100 hours\n' in done.stdout
  assert '--config=configs/ablations/feature_map.py:mlp' in done.stdout
