"""Tests that compile for GPUs which are not there."""

import pytest

from pallas_kernels import virtual_gpus


@pytest.fixture(scope='session', autouse=True)
def compiler(request):
  """Skips the tests without a compiler; where they are asked for, they fail."""
  if reason := virtual_gpus.missing():
    asked = 'aot' in request.config.option.markexpr
    (pytest.fail if asked else pytest.skip)(reason)
