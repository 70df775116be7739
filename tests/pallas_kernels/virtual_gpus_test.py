"""What is read of the reports of a compiler; compiling is in tests/aot."""

import importlib.metadata
import re

import jax
import pytest

from pallas_kernels import virtual_gpus

PTXAS = """\
{warning}
ptxas info    : Compiling entry function 'copy_mosaic_gpu_kernel' for 'sm_90a'
ptxas info    : Function properties for copy_mosaic_gpu_kernel
    16 bytes stack frame, 12 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 128 registers, used 16 barriers
"""
SERIALIZED = (
    'ptxas info    : (C7512) Potential Performance Loss: wgmma.mma_async'
    ' instructions are serialized due to insufficient register resources'
)
SPILLED = (
    "ptxas warning : Registers are spilled to local memory in function 'copy',"
    ' 12 bytes spill stores, 24 bytes spill loads'
)
PASSES = """\
// IR Dump Before CSE
an earlier state
// IR Dump Before GpuLaunchLoweringPass
the code of the host
  gpu.binary the cubin
// IR Dump Before ConvertFuncToLLVM
a later state
"""


@pytest.mark.parametrize(
    'warning, serialized', [(SPILLED, False), (SERIALIZED, True), ('', False)]
)
def test_a_kernel_is_what_the_assembler_says_of_it(
    tmp_path, warning, serialized
):
  report = tmp_path / 'copy_0.ptxas'
  report.write_text(PTXAS.format(warning=warning))
  resources = 'Resources(smem_scratch_bytes=195584, tmem_scratch_cols=0)'
  (tmp_path / 'copy_0.resources.txt').write_text(resources)
  (tmp_path / 'copy_0.ptx').write_text('the PTX')
  (tmp_path / 'copy_0.mlir-passes.log').write_text(PASSES)
  assert virtual_gpus.read_kernel(report) == virtual_gpus.Kernel(
      name='copy',
      registers=128,
      spill_stores=12,
      spill_loads=24,
      shared_memory=195584,
      serialized=serialized,
      ptx='the PTX',
      host='IR Dump Before GpuLaunchLoweringPass\nthe code of the host',
  )


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
