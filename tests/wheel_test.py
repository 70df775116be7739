"""A wheel holds all of our files, and works far away from this repository.

It is installed twice: with what it depends on, and alone. Every command runs in an
empty folder, so that nothing of the repository is found by chance.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import venv
import zipfile

import pytest

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1200)]  # pip downloads

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ('configs', 'jrt_jax', 'launch', 'pallas_kernels')
TINY = [
    *('--config=configs/jrt_tiny.py', '--config.steps=2'),
    *('--config.batch_size=2', '--config.sequence_length=64'),
    *('--config.eval_batches=1', '--config.sample_tokens=4'),
    '--config.model.mixers=("conv","pla")',
]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The wheel, built from a copy: setuptools leaves its files in the tree."""
  copy = tmp_path_factory.mktemp('copy')
  for name in PACKAGES:
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / name, copy / name, ignore=ignored)
  for name in ('LICENSE', 'README.md', 'pyproject.toml', 'setup.cfg'):
    shutil.copy(ROOT / name, copy)
  pip(sys.executable, 'wheel', '--no-deps', f'--wheel-dir={copy}/dist', copy)
  (path,) = (copy / 'dist').iterdir()
  return path


@pytest.fixture(scope='module')
def alone(wheel, tmp_path_factory):
  """The Python of an environment that has the wheel and nothing else."""
  return install(tmp_path_factory.mktemp('alone'), '--no-deps', wheel)


@pytest.fixture(scope='module')
def complete(wheel, tmp_path_factory):
  """The Python of an environment that has what the wheel depends on, too."""
  return install(tmp_path_factory.mktemp('complete'), wheel)


@pytest.fixture
def run(tmp_path):
  """A function that runs a Python in an empty folder, and returns its output."""

  def run(python, *arguments):
    ours = ('PYTHONPATH', 'XLA_FLAGS', 'NPROC')  # the last two are of conftest
    done = subprocess.run(
        [python, *arguments],
        cwd=tmp_path,
        env={k: x for k, x in os.environ.items() if k not in ours},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

  return run


def install(folder, *arguments):
  venv.create(folder, with_pip=True)
  pip(folder / 'bin' / 'python', 'install', *arguments)
  return folder / 'bin' / 'python'


def pip(python, *arguments):
  subprocess.run([python, '-m', 'pip', '--quiet', *arguments], check=True)


def test_it_installs_our_four_packages_and_no_other_name(wheel):
  names = {name.split('/')[0] for name in zipfile.ZipFile(wheel).namelist()}
  assert {x for x in names if not x.endswith('.dist-info')} == {*PACKAGES}


def test_it_has_every_file_of_the_packages(wheel):
  ours = {
      str(path.relative_to(ROOT))
      for name in PACKAGES
      for path in (ROOT / name).rglob('*')
      if path.is_file() and '__pycache__' not in path.parts
  }
  held = zipfile.ZipFile(wheel).namelist()
  assert {x for x in held if '.dist-info/' not in x} == ours


def test_prompts_are_built_where_nothing_else_is_installed(alone, run):
  code = (
      'import importlib.util as u; print([*map(u.find_spec, ["jax", "numpy"])])'
  )
  assert run(alone, '-c', code) == '[None, None]\n'
  code = (
      'from jrt_jax import prompting;'
      'print(prompting.jrt_prompt("Bob has a dog.", "Bob has a"))'
  )
  assert run(alone, '-c', code) == (
      'Bob has a Bob has a dog.\nBob has a dog. Bob has a\n'
  )


def test_commands_are_listed_and_launched_where_nothing_else_is_installed(
    alone, run
):
  assert 'jrt_jax.train' in run(alone, '-m', 'jrt_jax')
  launch = ('-m', 'launch', 'local', '--dry_run', '--processes=1')
  (line,) = run(alone, *launch, '--config=configs/jrt_tiny.py').splitlines()
  assert '--config=configs/jrt_tiny.py --workdir=runs/jrt_tiny' in line


def test_the_operation_and_the_python_interface_are_there(complete, run):
  code = (
      'import jrt_jax, pallas_kernels;'
      'lm = jrt_jax.load("builtin:jrt_2m");'
      'print(pallas_kernels.__file__, *lm.encode("FDA"))'
  )
  where, *ids = run(complete, '-c', code).split()
  assert 'site-packages' in where and ids


def test_the_model_that_comes_along_continues_text(complete, run):
  flags = ('--workdir=builtin:jrt_2m', '--temperature=0', '--max_tokens=8')
  prompt = '--prompt=B. Purpose for Submission:'
  assert run(complete, '-m', 'jrt_jax.generate', *flags, prompt).strip()


def test_a_config_that_comes_along_is_trained(complete, run, tmp_path):
  output = run(complete, '-m', 'jrt_jax.train', *TINY, '--workdir=run')
  assert 'held-out text' in output
  assert (tmp_path / 'run' / 'metrics.jsonl').is_file()
