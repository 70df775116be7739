"""Settings of policies, and the commands of the package."""

import pathlib
import subprocess
import sys

import hypothesis
import pytest

from configs import base

# The same few examples at every run, however slow the machine is.
hypothesis.settings.register_profile(
    'few', max_examples=25, deadline=None, derandomize=True
)
hypothesis.settings.load_profile('few')

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope='session')
def settings():
  """A function that returns `config.prefix`."""

  def make(**changes):
    return {**base.get_config().prefix.to_dict(), **changes}

  return make


@pytest.fixture(scope='session')
def command():
  """Runs `python -m jrt_jax.prefix.NAME`."""

  def run(name, *arguments):
    return subprocess.run(
        [sys.executable, '-m', f'jrt_jax.prefix.{name}']
        + [str(argument) for argument in arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

  return run
