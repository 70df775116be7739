"""Executes all blocks of a kernel, one after another."""

from collections.abc import Sequence
import itertools
from typing import Any

import numpy as np

from ptx.block import Block
from ptx import code as code_lib
from ptx import host
from ptx import limits
from ptx.kernels import Kernel
from ptx.memory import GlobalMemory


def execute(
    kernel: Kernel,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[Any],
    *,
    late: bool = False,
    seed: int = 0,
) -> list[np.ndarray]:
  """Executes the PTX of a compiled kernel.

  Args:
    kernel: a kernel from `kernels.compile_for`.
    inputs: arrays, in the order of the kernel's arguments.
    outputs: objects with the shapes and dtypes of its results, in order.
    late: whether copies and matrix products access memory as late as the
      program allows, instead of as soon as possible.
    seed: chooses the order in which warpgroups take turns.

  Returns:
    The outputs; elements that were not written are NaN.

  Raises:
    Violation: the kernel breaks a rule, or uses something that is not modelled.
  """
  code, launch = code_lib.parse(kernel.ptx), host.read_launch(kernel.host)
  limits.check(launch, kernel.registers)
  memory = GlobalMemory(inputs, outputs)
  for place in itertools.product(*map(range, launch.grid)):
    Block(
        *(code, launch, memory, place),
        registers=kernel.registers,
        late=late,
        seed=seed,
    ).run()
  written = memory.arrays[len(inputs) :]
  return [
      data.view(np.dtype(x.dtype)).reshape(x.shape)
      for data, x in zip(written, outputs)
  ]
