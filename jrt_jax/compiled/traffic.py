"""Bytes that a compiled program moves to and from memory, and its products.

Each instruction at the top of a computation is one kernel or a few: it reads its
operands and writes its results. What is inside a fusion stays in registers.
Not counted: reads that a cache serves, and what a custom call does inside.
"""

from collections.abc import Iterator
import dataclasses
import math

from jrt_jax.compiled import hlo

# What moves nothing: names for parts of what is there, and ends of what has
# been counted where it started.
_FREE = {
    *('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast'),
    *('after-all', 'partition-id', 'replica-id', 'opt-barrier'),
}
_VIEWS = 'bitcast', 'reshape', 'copy', 'transpose'
_SLICES = 'dynamic-slice', 'slice', 'gather'
_IN_PLACE = {'dynamic-update-slice': 1, 'scatter': 2}  # by operand: the update
_BLAS = '__cublas'  # how targets of products begin


@dataclasses.dataclass(frozen=True)
class Operation:
  """An instruction that does something, and how often.

  Attributes:
    instruction: of the program.
    count: times that it runs when the program runs once.
    read: bytes, each time.
    written: bytes, each time.
    flops: of its products of matrices, each time.
  """

  instruction: hlo.Instruction
  count: int
  read: int
  written: int
  flops: int

  @property
  def num_bytes(self) -> int:
    """Read and written, of all times together."""
    return self.count * (self.read + self.written)


def operations(program: hlo.Program, *, unknown_trips: int) -> list[Operation]:
  """Returns what a program does when it runs once.

  Of the branches of a conditional the first is taken.

  Args:
    program: from `hlo.parse`.
    unknown_trips: of each loop whose number of trips depends on data.
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
  """(bytes read, bytes written) by an instruction."""
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
  """Of all results, but for the room to work in that cuBLAS asks for."""
  return sum(
      shape.num_bytes
      for x in instructions
      for shape in (x.shapes[:1] if _is_blas(x) else _results(x))
  )


def _results(x):
  """The shapes of what is made; those of a start begin with its operands."""
  if x.opcode.endswith('-start'):
    return x.shapes[len(x.operands) :] or x.shapes
  return x.shapes


def _read(fused, x):
  """Bytes that a fusion reads of a parameter, or of a view of it."""
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
  """Bytes that an update reads of what it changes: `scatter` may add to it."""
  return _written(computation, x) if x.opcode == 'scatter' else 0


def _written(computation, x):
  """Bytes that a fusion writes whose root, or a part of it, is `x`."""
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
  """Two for each multiplication of a product of matrices."""
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
