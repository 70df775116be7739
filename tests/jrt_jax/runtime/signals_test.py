import os
import signal

import pytest

from jrt_jax.runtime import signals


@pytest.fixture(autouse=True)
def handlers_are_restored():
  before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
  yield
  assert before == [
      signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)
  ]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_becomes_a_request_to_stop(number, capfd):
  with signals.StopRequest() as stop:
    assert stop.signal is None
    os.kill(os.getpid(), number)
    assert stop.signal is not None
    assert stop.signal == number
  assert f'{number.name}: stopping' in capfd.readouterr().err


def test_the_first_signal_is_the_one_that_is_reported():
  with signals.StopRequest() as stop:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
      os.kill(os.getpid(), number)
  assert stop.signal == signal.SIGTERM


def test_a_second_interrupt_stops_at_once():
  with pytest.raises(KeyboardInterrupt):
    with signals.StopRequest():
      os.kill(os.getpid(), signal.SIGINT)
      os.kill(os.getpid(), signal.SIGINT)
