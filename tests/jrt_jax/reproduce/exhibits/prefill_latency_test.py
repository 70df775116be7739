import time

import jax
import numpy as np

from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce.exhibits import prefill_latency
from jrt_jax.training import kernels

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


def test_on_a_gpu_it_is_asked_first_whether_the_kernels_are_right(monkeypatch):
  called = []

  def here(model):
    called.append(model['width'] // model['num_heads'])
    return kernels.Choice('chunked', 'the GPU hangs')

  def backend():
    called.append('a device is opened')
    return 'gpu'

  monkeypatch.setattr(kernels, 'here', here)
  monkeypatch.setattr(jax, 'default_backend', backend)
  first, *_ = EXHIBIT.plan(exhibit.Request('gpu'), {})
  assert called == [64, 'a device is opened']
  assert first.settings['implementation'] == 'chunked'


def test_what_was_chosen_computes_linear_attention(monkeypatch):
  taken = []

  def operation(implementation, **arrays):
    taken.append(implementation)
    return arrays['v']

  monkeypatch.setattr(
      prefill_latency.pallas_kernels, 'prefix_linear_attention', operation
  )
  settings = {
      'length': 4,
      'shape': dict(B=1, H=1, D=2, V=2, dtype='float32'),
      'rounds': 1,
      'implementation': kernels.KERNELS_OR_CHUNKED,
  }
  EXHIBIT.measure(settings, None)
  assert taken == [('mosaic_sm90', 'chunked')] * 3
