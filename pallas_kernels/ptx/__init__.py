"""Executes compiled kernels on a CPU, by the rules of a Hopper GPU.

A second check of kernels, beside the interpreter of Pallas: that one interprets
what was written, this one what was compiled. `Executable` takes any function that
launches Mosaic GPU kernels.

Whatever is not modelled is a `Violation` that says so. To model an instruction,
add it to `INSTRUCTIONS` in the file of its kind.
"""

from pallas_kernels.ptx.errors import Violation
from pallas_kernels.ptx.executable import Executable
from pallas_kernels.ptx.execute import execute

__all__ = ['Executable', 'Violation', 'execute']
