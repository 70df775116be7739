import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.benchmarks import timing


@pytest.fixture
def few_samples(monkeypatch):
  monkeypatch.setattr(timing, 'SAMPLES', 3)


def test_every_call_of_a_loop_happens(few_samples):
  calls = []

  def function(x):
    count = lambda x: calls.append(0) or x
    return x, jax.pure_callback(count, jax.typeof(x), x)

  row = timing.measure(function, jnp.ones(4), expected_ms=5.0)
  assert row['calls'] == 4 and row['samples'] == 3
  assert len(calls) == 4 * (3 + 2)  # two to warm up


@pytest.mark.parametrize('expected_ms, calls', [(1e-6, 50), (200.0, 1)])
def test_long_calls_are_repeated_less(few_samples, expected_ms, calls):
  row = timing.measure(jnp.sin, jnp.ones(4), expected_ms=expected_ms)
  assert row['calls'] == calls


def test_more_work_takes_longer(few_samples):
  small, large = (jnp.ones((n, n)) for n in (64, 1024))
  product = lambda x: x @ x
  times = [
      timing.measure(product, x, expected_ms=20.0)['ms'] for x in (small, large)
  ]
  assert times[1] > times[0]


def test_an_empty_loop_copies_nothing():
  x = jax.ShapeDtypeStruct((1024, 1024), 'float32')
  program = jax.jit(timing._loop(lambda x: x, 3)).lower(x).compile()
  assert program.memory_analysis().temp_size_in_bytes < 1024


def test_the_summary_is_of_single_times():
  summary = timing.summarize(np.array([1.0, 2.0, 3.0, 4.0, 105.0]))
  assert summary['ms'] == 3.0 and summary['samples'] == 5
  assert 4.0 < summary['p90_ms'] < 105.0
