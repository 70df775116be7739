import math
import os
import time

import pytest

from jrt_jax.benchmarks import processes


def test_the_answer_and_mistakes_come_back_from_another_process():
  assert processes.call(os.getpid) != os.getpid()
  with pytest.raises(ValueError, match="invalid literal .* 'x'"):
    processes.call(int, 'x')


def test_a_process_that_fails_says_how():
  with pytest.raises(processes.Failed, match='OverflowError: math range error'):
    processes.call(math.exp, 1e4)
  with pytest.raises(processes.Failed, match='died, exit code 3'):
    processes.call(os._exit, 3)


def test_a_process_that_hangs_is_ended():
  start = time.monotonic()
  with pytest.raises(processes.Failed, match='ended after 1 seconds'):
    processes.call(time.sleep, 200.0, seconds=1.0)
  assert time.monotonic() - start < 100
