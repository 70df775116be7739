"""Parses PTX, NVIDIA's assembly language, into a list of instructions.

Source: the PTX ISA, https://docs.nvidia.com/cuda/parallel-thread-execution.
"""

import bisect
import dataclasses
import itertools
import pathlib
import re

from ptx.errors import Violation


class Register(str):
  """The name of a register, or of a special one such as `%tid.x`."""


@dataclasses.dataclass(frozen=True)
class Symbol:
  """The address of shared memory, or of a parameter of the kernel.

  Attributes:
    parameter: the index of the parameter; None for shared memory.
    offset: the offset in bytes.
  """

  parameter: int | None
  offset: int = 0


@dataclasses.dataclass(frozen=True)
class Address:
  """[base + offset, coordinates]; only tensor maps have coordinates."""

  base: 'Operand'
  offset: int = 0
  coordinates: tuple['Operand', ...] = ()


Operand = Register | Symbol | Address | int | None | tuple['Operand', ...]


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One instruction.

  Attributes:
    opcode: the opcode with all its suffixes.
    operands: integers and floats are bits; `_` is None.
    predicate: the predicate of the lanes that execute it; None: all lanes.
    negated: whether it is executed where the predicate is false.
    text: its text in the PTX.
    source: the file and line of the kernel from which it was compiled.
  """

  opcode: str
  operands: tuple[Operand, ...]
  predicate: Register | None
  negated: bool
  text: str
  source: str


@dataclasses.dataclass(frozen=True)
class Code:
  """The instructions of a kernel, and the positions of its labels."""

  instructions: tuple[Instruction, ...]
  labels: dict[Register, int]


_IGNORED = '.reg', '.shared', '.pragma'


def parse(ptx: str) -> Code:
  """Parses the single kernel in `ptx`.

  Raises:
    Violation: a statement is not understood.
  """
  files = dict(re.findall(r'\.file\s+(\d+)\s+"([^"]+)"', ptx))
  ptx = re.sub(r'//[^\n]*', '', ptx)
  ptx = re.sub(r'(?m)^(\s*\.loc\s[^\n]*)', r'\1;', ptx)
  entry = re.search(r'\.visible\s+\.entry\s+(\w+)\(', ptx)
  if not entry:
    raise Violation('there is no kernel in the PTX')
  start = ptx.index('{', entry.end())
  parser = _Parser(entry[1], files)
  newlines = [m.start() for m in re.finditer('\n', ptx)]
  position = start + 1
  while parser.depth:
    end = re.compile('[;{}]').search(ptx, position)
    text, position = _statement(ptx, position, end.start())
    parser.add(text, bisect.bisect(newlines, position) + 1)
  return Code(tuple(parser.instructions), parser.labels)


def _statement(ptx, start, end):
  """The statement or brace at `start`, and the start of the next one."""
  before = re.sub(r'[\w$]+:', '', ptx[start:end]).strip()
  if ptx[end] in '{}' and not before:
    return ptx[start : end + 1], end + 1
  end = ptx.index(';', end)
  return ptx[start:end], end + 1


class _Parser:
  """Parses statement by statement."""

  def __init__(self, kernel, files):
    self.kernel, self.files = kernel, files
    self.instructions, self.labels = [], {}
    self.scopes, self.numbers = [''], itertools.count()
    self.source = 'unknown'

  @property
  def depth(self):
    return len(self.scopes)

  def add(self, text, line):
    text = ' '.join(text.split())
    while label := re.match(r'([\w$]+):\s*', text):
      self.labels[self.name(label[1])] = len(self.instructions)
      text = text[label.end() :]
    if text == '{':
      self.scopes.append(f'@{next(self.numbers)}')
    elif text == '}':
      self.scopes.pop()
    elif text.startswith('.loc'):
      _, file, number, *_ = text.split()
      name = pathlib.PurePath(self.files.get(file, '')).name
      self.source = f'{name}:{number}' if name else 'unknown'
    elif text.startswith('.') and text.split()[0] not in _IGNORED:
      raise Violation(f'line {line} of the PTX is not understood: {text}')
    elif text and not text.startswith('.'):
      self.instructions.append(self.instruction(text, line))

  def instruction(self, text, line):
    parts = re.match(r'(?:@(!?)([%\w]+)\s+)?(\S+)\s*(.*)$', text)
    negated, predicate, opcode, operands = parts.groups()
    try:
      operands = tuple(map(self.operand, _split(operands)))
    except (IndexError, ValueError) as error:
      raise Violation(
          f'line {line} of the PTX is not understood: {text}'
      ) from error
    return Instruction(
        opcode=opcode,
        operands=operands,
        predicate=predicate and self.name(predicate),
        negated=bool(negated),
        text=text,
        source=self.source,
    )

  def name(self, text):
    """A register or a label; braces in inline assembly have their own."""
    return Register(text if text[0] in '%$' else text + self.scopes[-1])

  def operand(self, text):
    if text.startswith('{'):
      return tuple(map(self.operand, _split(text[1:-1])))
    if text.startswith('['):
      base, *coordinates = _split(text[1:-1])
      base, _, offset = base.partition('+')
      coordinates = self.operand(coordinates[0]) if coordinates else ()
      return Address(self.operand(base), int(offset or 0), coordinates)
    if text.startswith('!'):
      return ('!', self.operand(text[1:]))
    if '|' in text:
      return tuple(map(self.operand, text.split('|')))
    if text == '_':
      return None
    if text.startswith('__dynamic_shmem__'):
      return Symbol(None, int(text.partition('+')[2] or 0))
    if text.startswith(f'{self.kernel}_param_'):
      return Symbol(int(text.rpartition('_')[2]))
    if re.match(r'0[fF]', text):
      return int(text[2:], 16)
    if re.match(r'[-+]?\d', text):
      return int(text, 0)
    return self.name(text)


def _split(operands):
  """Splits at commas outside of brackets."""
  parts, depth = [''], 0
  for character in operands:
    depth += (character in '[{') - (character in ']}')
    if character == ',' and not depth:
      parts.append('')
    else:
      parts[-1] += character
  return [part.strip() for part in parts if part.strip()]
