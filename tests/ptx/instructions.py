"""INSTRUCTIONS: a function for each opcode."""

import functools
import inspect

from ptx import arithmetic
from ptx.code import Instruction
from ptx import control
from ptx import conversions
from ptx.errors import Violation
from ptx import movement
from ptx import tensor_cores
from ptx import tma
from ptx.warpgroup import Condition
from ptx.warpgroup import WarpGroup


def _nothing(group, *operands):
  del group, operands


# By opcode: functions of the warpgroup and the operands. A function returns
# None if it was executed, or else the condition that must hold before.
INSTRUCTIONS = {
    **arithmetic.INSTRUCTIONS,
    **conversions.INSTRUCTIONS,
    **movement.INSTRUCTIONS,
    **control.INSTRUCTIONS,
    **tma.INSTRUCTIONS,
    **tensor_cores.INSTRUCTIONS,
    # Fences without effect: barriers order everything that is modelled.
    **dict.fromkeys(('membar.cta', 'prefetch.tensormap'), _nothing),
}


def perform(group: WarpGroup, instruction: Instruction) -> Condition | None:
  """Executes one instruction of a warpgroup.

  Raises:
    Violation: naming the instruction.
  """
  try:
    if not _is_modelled(instruction.opcode, len(instruction.operands)):
      raise Violation('this instruction is not modelled')
    if group.mask.any():
      run = INSTRUCTIONS[instruction.opcode]
      return run(group, *instruction.operands)
  except Violation as error:
    block = group.block
    raise Violation(
        f'block {block.place}, {block.where(group)}: {error}'
    ) from error


@functools.cache
def _is_modelled(opcode, operands):
  if opcode not in INSTRUCTIONS:
    return False
  try:
    inspect.signature(INSTRUCTIONS[opcode]).bind(*range(1 + operands))
  except TypeError:
    return False
  return True
