import time

import jax
import numpy as np

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce.exhibits import prefill_latency

EXHIBIT = prefill_latency.EXHIBIT


def test_another_machine_measures_again():
  for job in EXHIBIT.plan(exhibit.Request('cpu'), {}):
    assert job.settings['device'] == jax.devices()[0].device_kind
    assert job.settings['cores'] > 0


def test_latency_is_time_that_passes_and_not_that_of_the_processor(monkeypatch):
  sleeping = lambda length, shape: lambda: time.sleep(0.02)
  monkeypatch.setattr(prefill_latency, '_OPERATIONS', {'sleep': sleeping})
  figures = EXHIBIT.measure({'length': 8, 'shape': {}, 'rounds': 2}, None)
  assert np.min(figures['ms']['sleep']) >= 19
