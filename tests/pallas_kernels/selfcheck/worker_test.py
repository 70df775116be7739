"""The real process, on this machine."""

import pytest

from pallas_kernels.benchmarks import machine
from pallas_kernels.selfcheck import process
from pallas_kernels.selfcheck import verdict


@pytest.fixture
def ask():
  def ask(*question):
    command = [*verdict._WORKER, *question, '--limit=60']
    environment = verdict._environment() | {'JAX_PLATFORMS': 'cpu'}
    return process.ask(command, limit=60.0, environment=environment)

  return ask


def test_it_describes_the_device(ask):
  about = ask('about')
  assert about['platform'] == 'cpu'
  assert machine.unfit(about) == 'jax finds no GPU'


def test_what_fails_is_said_in_one_line(ask):
  with pytest.raises(process.Failed, match='^TypeError: [^\n]*$'):
    ask('check')  # of no width
