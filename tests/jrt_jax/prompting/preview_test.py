"""The command `python -m jrt_jax.prompting.preview`, as a user runs it."""

import os
import pathlib
import pty
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]
TEXT = """The sky is said to be blue on most days.

The Rhine is a river of Europe and 1,230 km long.\x1b[2J
"""


@pytest.fixture(name='file')
def fixture_file(tmp_path):
  path = tmp_path / 'text.txt'
  path.write_text(TEXT)
  return path


def preview(*arguments, stdout=subprocess.PIPE):
  return subprocess.run(
      [sys.executable, '-m', 'jrt_jax.prompting.preview', *map(str, arguments)],
      cwd=ROOT,
      env={**os.environ, 'COLUMNS': '72'},
      stdout=stdout,
      stderr=subprocess.PIPE,
      text=stdout == subprocess.PIPE,
  )


def test_each_piece_of_the_prompt_is_a_line(file):
  done = preview(
      f'--input={file}', '--question=How long is the Rhine?', '--ratio=0.3'
  )
  assert done.returncode == 0, done.stderr
  end = '\N{REPLACEMENT CHARACTER}['
  rhine = f'The Rhine is a river of Europe and 1,230 km long.{end}'
  assert done.stdout.splitlines() == [
      'read:',
      '  question       23  How long is the Rhine?',
      '  context        40  The sky is said to be blue on most days.',
      f'  context        56  {rhine}',
      f'  sentence       55  {rhine}',
      '  question       23  How long is the Rhine?',
      '197 bytes; 119 read once, 239 read twice',
  ]


def test_what_a_budget_leaves_out_is_shown(file):
  done = preview(
      f'--input={file}',
      '--question=Rhine?',
      '--ratio=0.3',
      '--token_budget=120',
  )
  assert done.returncode == 0, done.stderr
  assert 'salient, but beyond the budget:\n  sentence ' in done.stdout
  assert 'never read' not in done.stdout
  done = preview(f'--input={file}', '--question=Rhine?', '--token_budget=60')
  assert 'never read:\n  cut            56' in done.stdout


def test_a_terminal_obeys_nothing_that_the_document_has(file):
  terminal, stdout = pty.openpty()
  done = preview(f'--input={file}', '--question=Q', stdout=stdout)
  os.close(stdout)
  assert done.returncode == 0, done.stderr
  shown = os.read(terminal, 10_000).decode()
  os.close(terminal)
  assert '  sentence' in shown and '\x1b' not in shown


def test_a_mistake_is_one_line(error_line, file):
  given = f'--input={file}'
  for arguments, message in (
      (['--question=Q'], '--input=FILE must be given'),
      ([given], '--question=TEXT must be given'),
      ([f'{given}x', '--question=Q'], '--input must be a file that can be rea'),
      (
          [given, '--question=Q', '--tokenizer=x'],
          "the tokenizer must be 'bytes'",
      ),
      ([given, '--question=Q', '--repeats=word'], 'repeats must be of'),
  ):
    done = preview(*arguments)
    assert done.returncode == 2
    line = error_line(done.stderr)
    assert line.startswith(f'error: {message}')
