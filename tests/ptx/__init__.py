"""Executes compiled kernels on a CPU, by the rules of a Hopper GPU.

This is a second check of kernels: the interpreter of Pallas interprets their
source, this package their compiled PTX. `Executable` takes any function that
launches Mosaic GPU kernels.

An instruction that is not modelled raises a `Violation`. To model it, add it to
`INSTRUCTIONS` in the file of its kind.
"""

from ptx.errors import Violation
from ptx.executable import Executable
from ptx.execute import execute

__all__ = ['Executable', 'Violation', 'execute']
