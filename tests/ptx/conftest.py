import numpy as np
import pytest

from ptx.block import Block
from ptx import code
from ptx import host
from ptx.memory import GlobalMemory

PTX = """
.visible .entry kernel(
	.param .u64 .ptr .align 256 kernel_param_0,
	.param .align 64 .b8 kernel_param_1[1024]
)
{{
	.reg .b32 %r<9>;
	mov.u32 %thread, %tid.x;
	ld.param::entry.b64 %out, [kernel_param_0];
	mul.wide.u32 %own, %thread, 4;
	add.s64 %out, %out, %own;
	cvt.u32.u64 %own, %own;
	setp.eq.s32 %first, %thread, 0;
	setp.lt.s32 %group0, %thread, 128;
	mov.b64 %shared, __dynamic_shmem__0;
	mov.b64 %map, kernel_param_1;
	{body};
	ret;
}}
"""


@pytest.fixture
def run():
  """Executes one block, and returns what its threads write to [%out]."""

  def run(
      body,
      *,
      threads=128,
      inputs=(),
      maps=None,
      late=False,
      registers=128,
      shared_memory=8192,
      words=1,  # that a thread may write, one every 4 * threads bytes
  ):
    outputs = [np.empty(words * threads, np.uint32)]
    memory = GlobalMemory(outputs=outputs, inputs=inputs)
    launch = host.Launch(
        grid=(1, 1, 1),
        threads=(threads, 1, 1),
        shared_memory=shared_memory,
        parameters=(len(inputs), maps or {}),
    )
    Block(
        *(code.parse(PTX.format(body=body)), launch, memory, (0, 0, 0)),
        registers=registers,
        late=late,
        seed=0,
    ).run()
    return memory.arrays[-1].view(np.uint32)

  return run
