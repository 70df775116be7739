"""Counts the bytes that a compiled program moves, and its matrix products.

Each instruction at the top level of a computation is one or several kernels: it
reads its operands and writes its results. Values inside a fusion stay in
registers. Caches, and work inside custom calls, are not modelled.
"""

from collections.abc import Iterator
import dataclasses
import math

from jrt_jax.compiled import hlo

# Opcodes that move nothing, since they only name or regroup existing values.
_FREE = {
    *('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast'),
    *('after-all', 'partition-id', 'replica-id', 'opt-barrier'),
}
_VIEWS = 'bitcast', 'reshape', 'copy', 'transpose'
_SLICES = 'dynamic-slice', 'slice', 'gather'
_IN_PLACE = {'dynamic-update-slice': 1, 'scatter': 2}  # by operand: the update
_BLAS = '__cublas'  # prefix of the targets of matrix products


@dataclasses.dataclass(frozen=True)
class Operation:
  """An instruction that moves bytes or computes, and how often it runs.

  Attributes:
    instruction: the instruction.
    count: number of executions in one run of the program.
    read: bytes read by each execution.
    written: bytes written by each execution.
    flops: FLOPs of matrix products in each execution.
  """

  instruction: hlo.Instruction
  count: int
  read: int
  written: int
  flops: int

  @property
  def num_bytes(self) -> int:
    """Bytes read and written by all executions together."""
    return self.count * (self.read + self.written)


def operations(program: hlo.Program, *, unknown_trips: int) -> list[Operation]:
  """Returns the operations of one run of a program.

  Conditionals are assumed to take their first branch.

  Args:
    program: from `hlo.parse`.
    unknown_trips: the number of iterations to assume for each loop where it
      depends on data.
  """
  entry = program.computations[program.entry]
  return [*_operations(program, entry, 1, unknown_trips)]


def _operations(program, computation, count, unknown) -> Iterator[Operation]:
  for x in computation.instructions.values():
    kind = x.opcode
    if kind in _FREE or kind.endswith(('-done', '-update')):
      continue
    if kind == 'while':
      trips = unknown if x.trips is None else x.trips
      for role in ('body', 'condition'):
        inner = program.called(x, role)
        yield from _operations(program, inner, count * trips, unknown)
    elif kind in ('call', 'conditional', 'async-start'):
      (first, *_), *_ = x.calls.values()
      inner = program.computations[first]
      yield from _operations(program, inner, count, unknown)
    else:
      read, written = _moved(program, computation, x)
      flops = _flops(program, computation, x)
      yield Operation(x, count, read, written, flops)


def _moved(program, computation, x):
  """Returns (bytes read, bytes written) by an instruction."""
  if 'calls' in x.calls:
    fused = program.called(x, 'calls')
    parameters = (
        y for y in fused.instructions.values() if y.opcode == 'parameter'
    )
    return sum(_read(fused, y) for y in parameters), _written(fused, fused.root)
  operands = computation.operands(x)
  if x.opcode in _IN_PLACE:
    del operands[0]
    return _num_bytes(operands), _written(computation, x)
  if x.opcode in _SLICES:
    return x.num_bytes, x.num_bytes
  return _num_bytes(operands), _num_bytes([x])


def _num_bytes(instructions):
  """Returns the bytes of all results, without the workspace of cuBLAS."""
  return sum(
      shape.num_bytes
      for x in instructions
      for shape in (x.shapes[:1] if _is_blas(x) else _results(x))
  )


def _results(x):
  """Returns the shapes of results; a start op lists its operands first."""
  if x.opcode.endswith('-start'):
    return x.shapes[len(x.operands) :] or x.shapes
  return x.shapes


def _read(fused, x):
  """Returns the bytes that a fusion reads of a parameter, or of its view."""
  total = 0
  for user in fused.users(x):
    if user.opcode in _SLICES and user.operands[0] == x.name:
      total += user.num_bytes
    elif user.opcode in _IN_PLACE and user.operands[0] == x.name:
      total += _updates_that_add(fused, user)
    elif user.opcode in _VIEWS and not user.is_root:
      total += _read(fused, user)
    else:
      return x.num_bytes
  return min(total, x.num_bytes)


def _updates_that_add(computation, x):
  """Returns the bytes that an update reads of its target: `scatter` may add."""
  return _written(computation, x) if x.opcode == 'scatter' else 0


def _written(computation, x) -> int:
  """Returns the bytes that a fusion writes if `x` is its root or a part."""
  if x.opcode == 'tuple':
    return sum(_written(computation, y) for y in computation.operands(x))
  if x.opcode in _IN_PLACE:
    return computation.operands(x)[_IN_PLACE[x.opcode]].num_bytes
  if x.opcode in _VIEWS:
    (inner,) = computation.operands(x)
    if inner.opcode in _IN_PLACE:
      return _written(computation, inner)
  return x.num_bytes


def _flops(program, computation, x):
  """Returns the FLOPs of matrix products, two for each multiplication."""
  if 'calls' in x.calls:
    fused = program.called(x, 'calls')
    inside = fused.instructions.values()
    return sum(_flops(program, fused, y) for y in inside)
  if x.opcode != 'dot' and not _is_blas(x):
    return 0
  left, result = computation.operands(x)[0].shapes[0], x.shapes[0]
  contracted = math.prod(left.dims[i] for i in x.axes('lhs_contracting_dim'))
  return 2 * contracted * math.prod(result.dims)


def _is_blas(x):
  return (x.target or '').startswith(_BLAS)
