import pytest

from jrt_jax.benchmarks import prefill
from jrt_jax.benchmarks import timing


@pytest.fixture(autouse=True)
def two_samples(monkeypatch):
  monkeypatch.setattr(timing, 'samples', lambda: 2)


def test_a_prompt_is_timed(small_run):
  figures = prefill.measure(small_run(('pla',)))
  assert figures['tokens_per_second'] == pytest.approx(
      1e3 * 4 * 64 / figures['ms']
  )
  assert figures['compiled_bytes'] > 0


def test_memory_is_compared_with_that_of_a_shorter_prompt(
    small_run, monkeypatch
):
  peaks = iter([1000, 1100])
  monkeypatch.setattr(prefill.throughput, 'peak_memory', lambda: next(peaks))
  monkeypatch.setattr(prefill, '_BLOCKS', (2, 3))
  figures = prefill.measure_memory(small_run(('pla',), batch_size=1))
  # The prefix of the model, and so its block, is half of a sequence.
  assert figures['peak_bytes_by_length'] == {64: 1000, 96: 1100}
  assert figures['growth'] == 1.1
  assert figures['tokens_per_second'] == pytest.approx(1e3 * 96 / figures['ms'])
