import pytest

from jrt_jax.benchmarks import timing


@pytest.fixture
def clock(monkeypatch):
  """A clock that only moves when it is told to."""
  now = [0.0]
  monkeypatch.setattr(timing.time, 'perf_counter', lambda: now[0])
  return now


def test_the_first_call_is_not_timed_and_the_others_are_chained(clock):
  def step(count):
    clock[0] += 2.0 if count else 100.0  # compiles
    return count + 1

  timed = timing.Timed(step, 0)
  timed.sample(3)
  timed.sample(1)
  assert timed.seconds == [2.0, 2.0]
  assert timed.state == 5


def test_figures_are_of_one_part_of_a_call():
  seconds = [0.2] * 8 + [0.4, 1.0]
  rates = timing.figures(seconds, tokens=6, parts=10)
  assert rates['ms'] == pytest.approx(20)
  assert rates['p90_ms'] == pytest.approx(46)  # a tenth are slower
  assert rates['tokens_per_second'] == pytest.approx(300)
  assert rates['samples'] == 10
