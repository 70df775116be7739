"""What is refused before anything is compiled; compiling is in tests/aot."""

import importlib.metadata
import re

import jax
import pytest

from pallas_kernels import virtual_gpus


def test_an_unknown_gpu_is_refused():
  with pytest.raises(ValueError, match=r"'H100', 'H200'.* got 'A100'"):
    virtual_gpus.devices('A100')


@pytest.mark.parametrize('missing', [None, 'the plugin must be installed'])
def test_a_plugin_that_is_not_loaded_is_explained(monkeypatch, missing):
  def get_topology_desc(**_):
    raise NotImplementedError('topology not implemented for cuda')

  topologies = virtual_gpus.topologies
  monkeypatch.setattr(topologies, 'get_topology_desc', get_topology_desc)
  monkeypatch.setattr(virtual_gpus, 'missing', lambda: missing)
  told = missing or 'JAX_PLATFORMS=cpu must be in the environment'
  with pytest.raises(RuntimeError, match=f'^{told}'):
    virtual_gpus.devices('H100')


@pytest.mark.parametrize(
    'plugin, reason',
    [
        ('0.12.0.1', None),
        (
            '0.11.2',
            'of version 0.12.0.1, as jaxlib is, got 0.11.2: pip install',
        ),
        (None, r"must be installed: pip install -e '\.\[aot\]'"),
    ],
)
def test_the_plugin_must_be_there_and_of_the_version_of_jaxlib(
    monkeypatch, plugin, reason
):
  def version(name):
    if name == 'jaxlib':
      return '0.12.0.1'
    if plugin is None:
      raise importlib.metadata.PackageNotFoundError(name)
    return plugin

  monkeypatch.setattr(importlib.metadata, 'version', version)
  monkeypatch.setattr(jax, '__version_info__', (0, 12, 0))
  found = virtual_gpus.missing()
  assert re.search(reason, found) if reason else found is None
