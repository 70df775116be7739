"""The command `python -m jrt_jax.reproduce`, run as a user runs it."""

import json

import pytest

pytestmark = pytest.mark.slow  # each command imports jax


def test_one_exhibit_is_json_and_a_page(run_command, tmp_path):
  out = tmp_path / 'new'
  done = run_command('jrt_jax.reproduce', 'jrt_prompt', f'--out={out}')
  assert done.returncode == 0, done.stderr
  first, *lines, last = done.stdout.splitlines()
  assert first.startswith('jrt_prompt published: ')
  (verdict,) = (line for line in lines if line.startswith('jrt_prompt: '))
  assert 'The cells give 11.0 points.' in verdict
  assert last == f'wrote {out}/index.html'
  found = json.loads((out / 'jrt_prompt.json').read_text())
  assert (
      found['command'] == 'python -m jrt_jax.reproduce jrt_prompt --scale=cpu'
  )
  assert 'Not measured' in (out / 'index.html').read_text()  # the others


def test_an_exhibit_that_cannot_be_measured_ends_no_other(
    run_command, tmp_path
):
  out, empty = tmp_path / 'out', tmp_path / 'empty'
  empty.mkdir()
  done = run_command(
      'jrt_jax.reproduce',
      'jrt_prompt,hierarchical_prompting',
      f'--results={empty}',
      f'--out={out}',
  )
  assert done.returncode == 1, done.stderr
  head, *lines = done.stderr.splitlines()[-3:]
  assert head == '2 failed:'
  names = ('jrt_prompt', 'hierarchical_prompting')
  for name, line in zip(names, lines, strict=True):
    assert line.startswith(f'not measured: {name}: --results must have what')
  assert (out / 'index.html').exists()


def test_the_list_has_each_name_and_what_it_takes(run_command):
  done = run_command('jrt_jax.reproduce', '--list')
  assert done.returncode == 0, done.stderr
  assert 'hierarchical_prompting: ' in done.stdout
  assert '; takes --data; takes --results' in done.stdout


def test_the_scale_of_the_paper_is_told_and_not_measured(run_command):
  done = run_command('jrt_jax.reproduce', 'feature_maps', '--scale=paper')
  assert done.returncode == 0, done.stderr
  assert ' H100 hours\n' in done.stdout
  assert '--config=configs/ablations/feature_map.py:mlp' in done.stdout
