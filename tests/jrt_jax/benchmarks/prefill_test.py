import dataclasses
import types

import pytest

from jrt_jax import generation
from jrt_jax.benchmarks import inference
from jrt_jax.benchmarks import prefill
from jrt_jax.benchmarks import timing
from jrt_jax.generation import prefill as prefill_lib


@pytest.fixture(autouse=True)
def two_samples(monkeypatch):
  monkeypatch.setattr(timing, 'samples', lambda: 2)


def test_a_prompt_is_timed(small_run):
  config = small_run(('pla',))
  figures = prefill.measure(config)
  assert figures['tokens_per_second'] == pytest.approx(
      1e3 * 4 * 64 / figures['ms']
  )
  compiled = prefill_lib._read._cache_size()
  tokenizer = types.SimpleNamespace(size=19, eos_id=-1)
  model = dataclasses.replace(inference.serve(config), tokenizer=tokenizer)
  settings = generation.GenerationSettings(max_tokens=0)
  generation.generate(model, inference.prompts(config, 64), settings)
  assert prefill_lib._read._cache_size() == compiled  # it is what generates


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
