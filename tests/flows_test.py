"""Pages are followed from top to bottom, and end as they say.

Each page has a folder of its own, in which README.md's first command has run. What is
different from the page, on a machine without a GPU, is in `flows/here.py`.
"""

import os
import pathlib
import shutil
import subprocess
import sys

from flows import here
from flows import page as pages
import pytest

ROOT = pathlib.Path(__file__).parents[1]
# The examples of docs/extending.md are files, which extending_test.py adds.
PAGES = [
    'README.md',
    *(f'docs/{path.name}' for path in sorted((ROOT / 'docs').glob('*.md'))),
    'jrt_jax/prompting/README.md',
    'launch/README.md',
    'pallas_kernels/README.md',
]
PAGES.remove('docs/extending.md')
LIMIT = 600  # seconds; a command that takes longer belongs in here.SMALLER


def steps(name):
  return pages.steps((ROOT / name).read_text())


def run(command, folder):
  """Runs a command of the shell in the folder, as its user would."""
  home = str(folder.parent / 'home')  # keeps what is compiled, for all pages
  path = f'{folder}/bin:{folder}/.venv/bin:{os.environ["PATH"]}'
  environment = os.environ | {
      'HOME': home,
      'XDG_CACHE_HOME': home,
      'PATH': path,
      'PYTHONPATH': 'tests',  # for `ptx`, of pallas_kernels/README.md
      'XLA_FLAGS': '',  # those of tests/conftest.py are for tests
      'JAX_ENABLE_COMPILATION_CACHE': 'true',
  }
  return subprocess.run(
      ['timeout', str(LIMIT), 'bash', '-c', command],
      cwd=folder,
      env=environment,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
  )


def follow(step, folder):
  """Runs a step as it can be here; returns what was wrong with it."""
  command = here.command(step.command)
  if command is None:
    return []
  done = run(command, folder)
  as_shown = command == step.command
  wrong = pages.unlike(step.shown, done.stdout, numbers=as_shown)
  wrong = [f'shown, but not printed: {line}' for line in wrong]
  if done.returncode != (code := here.code(step.command)):
    wrong.append(f'exit code {done.returncode}, not {code}')
  if wrong:
    wrong = [f'line {step.line}: {command}', *wrong, done.stdout[-3000:]]
  return wrong


@pytest.fixture(scope='session')
def prepared(tmp_path_factory):
  """A folder with the code, what is the reader's own, and README.md's first run."""
  folder = tmp_path_factory.mktemp('flows') / 'prepared'
  ignored = shutil.ignore_patterns('.*', '__pycache__', *here.MADE)
  shutil.copytree(ROOT, folder, ignore=ignored)
  (folder / '.venv').symlink_to(sys.prefix)
  here.bring(folder)
  wrong = follow(steps('README.md')[0], folder)
  assert not wrong, '\n'.join(wrong)
  return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('name', PAGES)
def test_a_page_can_be_followed(name, prepared):
  folder = prepared.parent / name.replace('/', '-')
  shutil.copytree(prepared, folder, symlinks=True)
  before = [pages.Step(0, command) for command in here.BEFORE.get(name, [])]
  wrong = [line for x in before + steps(name) for line in follow(x, folder)]
  assert not wrong, '\n'.join(wrong)


def test_blocks_say_what_they_hold():
  for name in PAGES:
    unknown = pages.languages((ROOT / name).read_text()) - {*pages.LANGUAGES}
    assert not unknown, name


def test_every_part_is_of_a_command_of_some_page():
  commands = [step.command for name in PAGES for step in steps(name)]
  for part in [*here.SMALLER, *here.INSTEAD, *here.CODES, *here.NEEDS]:
    assert any(part in command for command in commands), part
