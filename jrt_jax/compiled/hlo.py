"""Reads the text of a program that XLA has optimised (HLO).

`jax.stages.Compiled.as_text` returns it. Only the parts of an instruction that
are needed to count bytes, products and exchanges are kept.

Source of the notation: https://openxla.org/xla/operation_semantics and the
dumps of jax 0.11.
"""

from collections.abc import Iterator
import dataclasses
import functools
import math
import re
from typing import NamedTuple

_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(r'\s+(ROOT )?%?([\w.\-]+) = ')
_OPCODE = re.compile(r' ([\w\-]+)\(')
_SHAPE = re.compile(r'([a-z]\w*)\[([\d,]*)\]')
_CALLED = re.compile(
    r'\b(calls|to_apply|body|condition|\w+_computations?)='
    r'(\{[^}]*\}|%?[\w.\-]+)'
)
_TABLES = 'FileNames', 'FunctionNames', 'FileLocations', 'StackFrames'


class Shape(NamedTuple):
  """The shape of an array; tokens and opaque values have no bytes."""

  dtype: str
  dims: tuple[int, ...]

  @property
  def num_bytes(self) -> int:
    if self.dtype in ('token', 'opaque'):
      return 0
    bits = re.search(r'\d+', self.dtype)  # f8e4m3fn has 8; pred a byte
    return -(-math.prod(self.dims) * int(bits[0] if bits else 8) // 8)


class Frame(NamedTuple):
  """A position in the source: a stack frame."""

  file: str
  line: int


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: its name, unique in the program.
    opcode: fusion, copy, custom-call …
    shapes: shapes of its results; tuples are flattened.
    operands: names of instructions of the same computation.
    attributes: the text after the operands.
    is_root: whether it is the result of its computation.
  """

  name: str
  opcode: str
  shapes: tuple[Shape, ...]
  operands: tuple[str, ...]
  attributes: str
  is_root: bool

  @property
  def num_bytes(self) -> int:
    """The bytes of its results."""
    return sum(shape.num_bytes for shape in self.shapes)

  @functools.cached_property
  def op_name(self) -> str:
    """Its name in jax, with the transformations around it."""
    return self._attribute(r'op_name="([^"]*)"') or ''

  @functools.cached_property
  def target(self) -> str | None:
    """The target of a custom call."""
    return self._attribute(r'custom_call_target="([^"]*)"')

  @functools.cached_property
  def calls(self) -> dict[str, tuple[str, ...]]:
    """Names of called computations, by role: calls, body, condition …"""
    return {
        role: tuple(re.findall(r'[\w.\-]+', names))
        for role, names in _CALLED.findall(self._settings)
    }

  @functools.cached_property
  def trips(self) -> int | None:
    """The number of iterations of a loop; None if the text does not say."""
    trips = self._attribute(r'"known_trip_count":\{"n":"(\d+)"')
    return trips and int(trips)

  def axes(self, name: str) -> tuple[int, ...]:
    """Returns a list of axes, such as lhs_contracting_dim(ension)s."""
    axes = self._attribute(rf'{name}(?:ension)?s"?[=:][\[{{]([\d,"]*)') or ''
    return tuple(map(int, re.findall(r'\d+', axes)))

  @functools.cached_property
  def frame(self) -> int:
    """Index of the innermost stack frame that created it; 0: unknown."""
    return int(self._attribute(r'stack_frame_id=(\d+)') or 0)

  @property
  def _settings(self):
    """The attributes without `backend_config`, which can hold whole kernels."""
    return self.attributes.partition(', backend_config=')[0]

  def _attribute(self, pattern):
    match = re.search(pattern, self.attributes)
    return match and match[1]


class Computation(NamedTuple):
  """Instructions by name, in the order of execution."""

  instructions: dict[str, Instruction]

  @property
  def root(self) -> Instruction:
    return next(x for x in self.instructions.values() if x.is_root)

  def operands(self, instruction: Instruction) -> list[Instruction]:
    """Returns the instructions whose results an instruction reads."""
    return [self.instructions[name] for name in instruction.operands]

  def users(self, instruction: Instruction) -> list[Instruction]:
    """Returns the instructions that read the results of an instruction."""
    name = instruction.name
    return [x for x in self.instructions.values() if name in x.operands]


@dataclasses.dataclass(frozen=True)
class Program:
  """A module: its computations, and stack frames of the source.

  Attributes:
    computations: computations by name; `entry` is the main one.
    frames: {index: (frame, index of its caller)}; 0: no caller.
  """

  computations: dict[str, Computation]
  entry: str
  frames: dict[int, tuple[Frame, int]]

  def called(self, instruction: Instruction, role: str) -> Computation:
    """Returns the computation that an instruction calls in a role."""
    (name,) = instruction.calls[role]
    return self.computations[name]

  def stack(self, instruction: Instruction) -> Iterator[Frame]:
    """Yields the stack that created an instruction, innermost frame first."""
    index = instruction.frame
    while index in self.frames:
      frame, index = self.frames[index]
      yield frame


def parse(text: str) -> Program:
  """Reads the text of an optimised program.

  Raises:
    ValueError: the text is not an optimised HLO module.
  """
  computations, tables, entry, current = {}, {}, None, {}
  for line in text.splitlines():
    if line in _TABLES:
      current = tables[line] = {}
    elif match := _COMPUTATION.match(line):
      current = {}
      computations[match[2]] = Computation(current)
      entry = match[2] if match[1] else entry
    elif match := _INSTRUCTION.match(line):
      current[match[2]] = _instruction(match, line[match.end() :])
    elif match := re.match(r'(\d+) (.*)', line):
      current[int(match[1])] = match[2]
  if entry is None:
    raise ValueError(
        'text must be an optimised HLO module with an ENTRY, got'
        f' {text[:40]!r}'
    )
  return Program(computations, entry, _frames(tables))


def _instruction(start, rest):
  """Parses `shapes opcode(operands), attributes`."""
  after_shapes = _closing(rest, 0) if rest[0] == '(' else 0
  match = _OPCODE.search(rest, after_shapes)
  end = _closing(rest, match.end() - 1)
  operands = rest[match.end() : end - 1]
  return Instruction(
      name=start[2],
      opcode=match[1],
      shapes=_shapes(rest[: match.start()]),
      operands=tuple(re.findall(r'%([\w.\-]+)', operands)),
      attributes=rest[end:],
      is_root=bool(start[1]),
  )


def _closing(text, start):
  """Returns the position after the parenthesis that closes the next one."""
  depth = 0
  for match in re.compile('[()]').finditer(text, start):
    depth += 1 if match[0] == '(' else -1
    if not depth:
      return match.end()
  raise ValueError(f'parentheses must be closed, got {text[start:][:80]!r}')


def _shapes(text):
  return tuple(
      Shape(dtype, tuple(map(int, filter(None, dims.split(',')))))
      for dtype, dims in _SHAPE.findall(text)
  )


def _frames(tables):
  """Returns {index: (frame, caller)}, from the tables before computations."""
  if not all(name in tables for name in _TABLES):
    return {}
  files, locations, stacks = (
      tables[name] for name in ('FileNames', 'FileLocations', 'StackFrames')
  )

  def number(text, key):
    return int(re.search(rf'\b{key}=(\d+)', text)[1])

  found = {}
  for index, text in stacks.items():
    location = locations[number(text, 'file_location_id')]
    file = files[number(location, 'file_name_id')].strip('"')
    frame = Frame(file, number(location, 'line'))
    # Parents are numbered from 1, which means none.
    found[index] = frame, number(text, 'parent_frame_id') - 1
  return found
