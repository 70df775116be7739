import pytest

from jrt_jax.benchmarks import decoding
from jrt_jax.benchmarks import timing
from jrt_jax.models import cost


@pytest.fixture(autouse=True)
def two_samples(monkeypatch):
  monkeypatch.setattr(timing, 'samples', lambda: 2)


def test_the_state_has_the_same_size_at_every_position(small_run):
  config = small_run(('pla',))
  figures = decoding.measure_drift(config)
  size = cost.state_bytes(config['model'], length=64)
  assert figures['state_bytes_by_position'] == {1: size, 64: size}
  assert figures['state_bytes'] == figures['expected_state_bytes'] == size
  assert figures['drift'] > 0
  assert figures['tokens_per_second'] == pytest.approx(4e3 / figures['ms'])


@pytest.mark.slow
def test_attention_keeps_room_for_one_continuation(small_run):
  # Two samples and the first call read 9 tokens: there is room for 3 only, and
  # beyond it the logits would not be finite.
  config = small_run(('attention',))
  figures = decoding.measure(config)
  size = cost.state_bytes(config['model'], length=64 + 3)
  assert figures['state_bytes'] == figures['expected_state_bytes'] == size
