"""Executes compiled kernels on a CPU, by the rules of a Hopper GPU."""

from pallas_kernels.ptx.errors import Violation
from pallas_kernels.ptx.execute import execute
from pallas_kernels.ptx.executable import Executable

__all__ = ['Executable', 'Violation', 'execute']
