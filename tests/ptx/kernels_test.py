"""What is read of the reports of a compiler; compiling is in tests/aot."""

import pytest

from ptx import kernels

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
  assert kernels.read_kernel(report) == kernels.Kernel(
      name='copy',
      registers=128,
      spill_stores=12,
      spill_loads=24,
      shared_memory=195584,
      serialized=serialized,
      ptx='the PTX',
      host='IR Dump Before GpuLaunchLoweringPass\nthe code of the host',
  )
