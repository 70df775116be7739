import functools
import sys
import types

import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.benchmarks import operations
from pallas_kernels.benchmarks import peers
from pallas_kernels.benchmarks import recurrences
from pallas_kernels.benchmarks.case import Missing
from pallas_kernels.benchmarks.case import Settings
from pallas_kernels.benchmarks.results import Folder

WORKLOADS = 'gdn', 'mamba2'


@pytest.fixture
def settings(tmp_path):
  return Settings(Folder(tmp_path), rehearse=True)


def fake_jla(monkeypatch, function):
  ops = types.SimpleNamespace(linear_attention=function)
  monkeypatch.setitem(sys.modules, 'jla', types.SimpleNamespace(ops=ops))


@pytest.mark.parametrize('workload', WORKLOADS)
def test_our_operation_is_timed_with_gradients(unoptimized, settings, workload):
  (case,) = [x for x in operations.cases(settings) if x.name == workload]
  row = case.run()
  assert row['implementation'] == 'chunked' and row['ms'] > 0
  _, _, function, arrays = recurrences.measured(
      settings, workload, recurrences.chunked
  )
  _, gradients = function(arrays)
  assert gradients.keys() == arrays.keys() - {'dy'}
  assert ('beta' in arrays) == (workload == 'gdn')


@pytest.mark.parametrize('workload', WORKLOADS)
def test_jla_gets_the_arguments_of_ours_under_its_names(
    monkeypatch, settings, workload
):
  kinds = []

  def linear_attention(kind, q, k, v, *, g, beta=None, impl, scale):
    kinds.append(kind)
    assert (impl, scale) == ('mosaic_gpu', 1.0)
    return pallas_kernels.gated_delta_rule(q, k, v, g, beta), None

  fake_jla(monkeypatch, linear_attention)
  on_gpu = settings._replace(rehearse=False)
  forward = recurrences.jla(on_gpu, workload)
  _, _, ours, arrays = recurrences.measured(
      settings, workload, recurrences.chunked
  )
  _, _, theirs, _ = recurrences.measured(settings, workload, forward)
  testing.assert_close(theirs(arrays), ours(arrays), 1e-5)
  assert set(kinds) == {
      {'gdn': 'gated_deltanet', 'mamba2': 'simple_gla'}[workload]
  }


def test_without_jla_or_a_gpu_its_rows_are_skipped(monkeypatch, settings):
  run = functools.partial(peers.JAX_PEERS['jla_gated_delta_rule'], settings)
  monkeypatch.setitem(sys.modules, 'jla', None)
  with pytest.raises(ImportError):
    run('gdn', 'jla_gated_delta_rule')
  fake_jla(monkeypatch, None)
  with pytest.raises(Missing, match='no GPU in a rehearsal'):
    run('gdn', 'jla_gated_delta_rule')
