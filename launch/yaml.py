"""Writes YAML as people do; launchers may not need a library for it."""

from collections.abc import Iterator, Mapping, Sequence
import json
import re

Value = Mapping[str, 'Value'] | Sequence['Value'] | str | int | bool

# Strings that YAML 1.1 and 1.2 read as they are: words, paths and flags.
_PLAIN = re.compile(r'-{0,2}[A-Za-z_/]([\w./=@:-]*[\w/])?', re.ASCII)
_NO_STRINGS = 'true', 'false', 'yes', 'no', 'on', 'off', 'null', 'y', 'n'
_BLOCK = re.compile(r'(?! )(?:[^\n]+\n)+')


def text(value: Mapping[str, Value]) -> str:
  """Returns a document; texts of several lines become blocks."""
  return ''.join(f'{line}\n' for line in _lines(value))


def _lines(value: Value) -> Iterator[str]:
  if isinstance(value, Mapping) and value:
    for key, item in value.items():
      first, *rest = _lines(item)
      if isinstance(item, (Mapping, list, tuple)) and item:
        yield f'{_scalar(key)}:'
        rest = [first, *rest]
      else:
        yield f'{_scalar(key)}: {first}'
      yield from (f'  {line}' for line in rest)
  elif isinstance(value, (list, tuple)) and value:
    for item in value:
      first, *rest = _lines(item)
      yield f'- {first}'
      yield from (f'  {line}' for line in rest)
  elif isinstance(value, str) and _is_block(value):
    yield from ['|', *value.splitlines()]
  else:
    yield _scalar(value)


def _scalar(value):
  if isinstance(value, str) and _PLAIN.fullmatch(value):
    if value.lower() not in _NO_STRINGS:
      return value
  quoted = json.dumps(value, ensure_ascii=False)  # JSON is YAML
  return ''.join(c if c.isprintable() else f'\\U{ord(c):08x}' for c in quoted)


def _is_block(value):
  return _BLOCK.fullmatch(value) and value.replace('\n', '').isprintable()
