"""A run of one process fails as if `failures` were not there.

Runs of two are in distributed_test.py.
"""

import pytest

from jrt_jax.runtime import failures


@pytest.mark.parametrize(
    'error', [ValueError('a'), KeyError('a'), SystemExit(3)]
)
def test_alone_errors_pass_through(error):
  with pytest.raises(type(error)) as caught:
    with failures.together(), failures.shared():
      raise error
  assert caught.value is error


def test_alone_nothing_is_waited_for():
  with failures.together(), failures.shared():
    pass
