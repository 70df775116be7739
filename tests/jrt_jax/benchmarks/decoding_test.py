import dataclasses
import types

import numpy as np
import pytest

from jrt_jax import cost
from jrt_jax import generation
from jrt_jax.benchmarks import decoding
from jrt_jax.benchmarks import inference
from jrt_jax.benchmarks import timing
from jrt_jax.models import decode
from jrt_jax.models import sampling


@pytest.fixture(autouse=True)
def two_samples(monkeypatch):
  monkeypatch.setattr(timing, 'samples', lambda: 2)


def test_the_state_has_the_same_size_at_every_position(small_run):
  config = small_run(('pla',))
  figures = decoding.measure_drift(config)
  size = cost.state_bytes(config['model'], length=512)
  assert figures['state_bytes_by_position'] == {1: size, 64: size}
  assert figures['state_bytes'] == figures['expected_state_bytes'] == size
  assert figures['drift'] > 0
  assert figures['tokens_per_second'] == pytest.approx(4e3 / figures['ms'])


def test_what_is_timed_is_the_program_of_generate(small_run):
  config = small_run(('pla',))
  tokenizer = types.SimpleNamespace(size=19, eos_id=-1, decode=str)
  model = dataclasses.replace(inference.serve(config), tokenizer=tokenizer)
  settings = generation.GenerationSettings(sampling.FOR_TEXT, max_tokens=16)
  generation.generate(
      model, np.asarray(inference.prompts(config, 64)), settings
  )
  compiled = decode.decode._cache_size()
  decoding.measure(config)
  assert decode.decode._cache_size() == compiled


@pytest.mark.slow
def test_attention_keeps_room_for_one_continuation(small_run):
  # The first call and two samples read 768 tokens after 64: there is room for
  # 512 in all, and beyond it the logits would not be finite.
  config = small_run(('attention',))
  figures = decoding.measure(config)
  size = cost.state_bytes(config['model'], length=512)
  assert figures['state_bytes'] == figures['expected_state_bytes'] == size
