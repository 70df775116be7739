"""Tests that compile for GPUs which are not there."""

import importlib.util

import jax
import pytest

_REASON = (
    "needs jax 0.11.2 or newer with its CUDA plugin: pip install -e '.[aot]', or"
    ' make test-aot'
)


@pytest.fixture(scope='session', autouse=True)
def compiler(request):
  """Skips the tests without a compiler; where they are asked for, they fail."""
  plugin = importlib.util.find_spec('jax_cuda13_plugin')
  if plugin and jax.__version_info__ >= (0, 11, 2):
    return
  asked = 'aot' in request.config.option.markexpr
  (pytest.fail if asked else pytest.skip)(_REASON)
