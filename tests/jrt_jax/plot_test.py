"""The command `python -m jrt_jax.plot`, run as a user runs it."""

import json
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip('matplotlib')

ROOT = pathlib.Path(__file__).parents[2]


def plot(*arguments):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.plot', *map(str, arguments)],
      cwd=ROOT,
      capture_output=True,
      text=True,
  )


def write_run(workdir, **config):
  workdir.mkdir()
  config = {'batch_size': 2, 'sequence_length': 50, **config}
  (workdir / 'config.json').write_text(json.dumps(config))
  with open(workdir / 'metrics.jsonl', 'w') as file:
    for step in range(10, 110, 10):
      line = {'step': step, 'next_token_loss': 1.5, 'step_seconds': 0.1}
      file.write(json.dumps(line) + '\n')
  return workdir


def test_runs_become_a_table_and_a_figure(tmp_path):
  runs = [write_run(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
  done = plot(
      f'--workdir={runs[0]},{runs[1]}',
      f'--out={tmp_path}/curves.png',
      '--smooth=0',
  )
  assert done.returncode == 0, done.stderr
  header, first, second, last = done.stdout.splitlines()
  assert header.split()[:3] == ['run', 'steps', 'tokens']
  assert first.split()[:5] == ['1', '(seed=1)', '100', '10k', '1.500']
  assert second.split()[:2] == ['2', '(seed=2)']
  assert last == f'wrote {tmp_path}/curves.png'
  assert (tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')


def test_what_is_no_run_is_left_out_with_a_word(tmp_path):
  write_run(tmp_path / 'a')
  (tmp_path / 'notes.txt').write_text('')
  done = plot(f'--workdir={tmp_path}/*', f'--out={tmp_path}/curves.png')
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[1].startswith('a ')
  assert f'left out: {tmp_path}/notes.txt is not a run' in done.stderr


def test_a_mistake_is_one_line(error_line, tmp_path):
  done = plot(f'--workdir={tmp_path}', f'--out={tmp_path}/curves.png')
  assert done.returncode == 2
  line = error_line(done.stderr)
  assert line.startswith(f'error: {tmp_path} is not a run')


def test_runs_are_named_by_their_labels(error_line, tmp_path):
  write_run(tmp_path / 'a')
  flags = f'--workdir={tmp_path}/a', f'--out={tmp_path}/curves.pdf'
  done = plot(*flags, '--labels=Ours', '--size=single', '--against=tokens')
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[1].split()[:2] == ['Ours', '100']
  done = plot(*flags, '--labels=Ours,Theirs')
  assert done.returncode == 2
  assert error_line(done.stderr) == (
      'error: --labels must have a name for each of the 1 runs, got 2: Ours,'
      ' Theirs'
  )
