import pytest

from jrt_jax.benchmarks import timing
from configs import base
from jrt_jax.benchmarks import train_step


@pytest.fixture(autouse=True)
def two_samples(monkeypatch):
  monkeypatch.setattr(timing, 'samples', lambda: 2)


def test_a_step_trains_as_a_run_would(small_run):
  config = small_run(('conv',), microbatch_per_device=2)
  config['optimizer'] |= {'initial_lr': 0.01, 'peak_lr': 0.01}
  figures = train_step.measure(config)
  assert figures['samples'] == 2
  assert figures['tokens_per_second'] == pytest.approx(
      1e3 * 4 * 64 / figures['ms']
  )
  assert figures['processor_ms'] > 0
  assert figures['accumulation'] == 2
  assert figures['mfu'] is None  # nobody knows the peak of a CPU
  # Random ids below 19 cost log 19 = 2.94 nats; those seen again are learnt.
  assert 0 < figures['loss'] < 2.9
  assert figures['compiled_bytes'] > 3 * 4 * 20 * 16  # weights and moments


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_an_error(small_run, monkeypatch):
  config = small_run(('conv',))
  config['model']['init_std'] = float('nan')
  monkeypatch.setattr(base.RANGES['model'], 'check', lambda *_: None)
  with pytest.raises(FloatingPointError, match='the loss is nan'):
    train_step.measure(config)
