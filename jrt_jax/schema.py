"""Schemas for the values of configs and of files that others may have written.

A schema is made of the classes below: `Fields({'steps': Whole(1, 10**9)})`. Its
`check` raises a ValueError of one line that names the key, what it must be and
what it is. Values that pass have a bounded size, and their numbers are finite.
"""

from collections.abc import Mapping
import dataclasses
import pkgutil
import reprlib
from typing import Any

_REPR = reprlib.Repr()
_LONGEST_SHOWN = 80
_REPR.maxlevel, _REPR.maxstring = 2, _LONGEST_SHOWN


class Value:
  """The values that are allowed; `str` describes them."""

  def check(self, key: str, value: Any) -> None:
    """Raises a ValueError that begins with `key` unless `value` is allowed.

    Args:
      key: the name that the user knows, such as 'config.steps', or the file of
        the value with a colon, such as 'manifest.json:'.
      value: an object of Python or JSON; tuples count as lists.
    """
    raise NotImplementedError

  def _require(self, allowed, key, value):
    if not allowed:
      raise ValueError(f'{key} must be {self}, got {shown(value)}')


@dataclasses.dataclass(frozen=True)
class Real(Value):
  """A number within bounds, both included; NaN is within none."""

  low: float
  high: float
  kind = 'number'
  types = int | float

  def __str__(self) -> str:
    return f'a {self.kind} from {self.low:,} to {self.high:,}'

  def check(self, key: str, value: Any) -> None:
    real = isinstance(value, self.types) and not isinstance(value, bool)
    self._require(real and self.low <= value <= self.high, key, value)


class Whole(Real):
  """A whole number within bounds, both included."""

  kind = 'whole number'
  types = int


class OneOf(Value):
  """One of a few values, mostly names."""

  def __init__(self, *choices: Any):
    self.choices = choices

  def __str__(self) -> str:
    few = len(self.choices) == 1
    return f'{"" if few else "one of "}{", ".join(map(str, self.choices))}'

  def check(self, key: str, value: Any) -> None:
    same = any(type(x) is type(value) and x == value for x in self.choices)
    self._require(same, key, value)


class KeyOf(OneOf):
  """A key of tables, whose modules are imported when they are needed.

  Args:
    tables: 'package.module:NAME' of dicts.
    others: what it may be besides.
    but: keys that it may not be.
  """

  def __init__(
      self, *tables: str, others: tuple[str, ...] = (), but: str | None = None
  ):
    self._tables, self._others, self._but = tables, others, but

  @property
  def choices(self) -> tuple[str, ...]:
    tables = map(pkgutil.resolve_name, self._tables)
    keys = [key for table in tables for key in table]
    return *(key for key in keys if key != self._but), *self._others


@dataclasses.dataclass(frozen=True)
class Text(Value):
  """A string that is not longer than a path may be."""

  longest: int = 4096

  def __str__(self) -> str:
    return f'a text of at most {self.longest:,} characters'

  def check(self, key: str, value: Any) -> None:
    text = isinstance(value, str)
    self._require(text and len(value) <= self.longest, key, value)


class Flag(Value):
  """True or False."""

  def __str__(self) -> str:
    return 'True or False'

  def check(self, key: str, value: Any) -> None:
    self._require(isinstance(value, bool), key, value)


class Anything(Value):
  """Any value."""

  def __str__(self) -> str:
    return 'anything'

  def check(self, key: str, value: Any) -> None:
    del key, value


@dataclasses.dataclass(frozen=True)
class ListOf(Value):
  """A list, or a tuple, whose length is within bounds."""

  item: Value
  shortest: int
  longest: int

  def __str__(self) -> str:
    return f'a list of {self.shortest:,} to {self.longest:,}, each {self.item}'

  def check(self, key: str, value: Any) -> None:
    listed = isinstance(value, list | tuple)
    if listed and not self.shortest <= len(value) <= self.longest:
      raise ValueError(f'{key} must be {self}, got {len(value):,}')
    self._require(listed, key, value)
    for i, item in enumerate(value):
      self.item.check(f'{key}[{i}]', item)


class Row(Value):
  """A list, or a tuple, with a schema for each place."""

  def __init__(self, *items: Value):
    self.items = items

  def __str__(self) -> str:
    return f'a list of {len(self.items)}: {", ".join(map(str, self.items))}'

  def check(self, key: str, value: Any) -> None:
    listed = isinstance(value, list | tuple) and len(value) == len(self.items)
    self._require(listed, key, value)
    for i, (schema, item) in enumerate(zip(self.items, value)):
      schema.check(f'{key}[{i}]', item)


class AnyOf(Value):
  """A value that one of several schemas allows."""

  def __init__(self, *options: Value):
    self.options = options

  def __str__(self) -> str:
    return ' or '.join(map(str, self.options))

  def check(self, key: str, value: Any) -> None:
    for option in self.options:
      try:
        return option.check(key, value)
      except ValueError as error:
        if not str(error).startswith(f'{key} must'):
          raise  # the kind is right, something inside is not
    self._require(False, key, value)


class Fields(Value):
  """A dict with certain keys.

  Args:
    keys: required keys and their schemas; a dict as a schema means `Fields`.
    optional: optional keys and their schemas; all keys of a dict among them are
      optional, too.
    others: the schema of all other keys; None: there must be no others.

  Attributes:
    keys: the schemas of all required and optional keys.
  """

  def __init__(
      self,
      keys: Mapping[str, Any],
      *,
      optional: Mapping[str, Any] | None = None,
      others: Value | None = None,
  ):
    self._needed = keys.keys()
    self._others = others
    self.keys = {k: _value(x) for k, x in keys.items()}
    for k, x in (optional or {}).items():
      self.keys[k] = _value(x, optional=True)

  def __str__(self) -> str:
    return 'an object with keys'

  def __getitem__(self, name: str) -> Value:
    return self.keys[name]

  def check(self, key: str, value: Any) -> None:
    self._require(isinstance(value, Mapping), key, value)
    for name in self._needed:
      if name not in value:
        raise ValueError(f'{_below(key, name)} must be given, it is missing')
    for name, item in value.items():
      if name in self.keys:
        self.keys[name].check(_below(key, name), item)
      elif self._others is None:
        raise ValueError(f'{key} must not have the key {shown(name)}')
      else:
        self._others.check(_below(key, shown(name)), item)


def shown(value: Any) -> str:
  """Returns a value as one shortened line, for messages."""
  text = _REPR.repr(value)
  return text if len(text) <= _LONGEST_SHOWN else f'{text[:_LONGEST_SHOWN]}…'


def _value(value, optional=False):
  if not isinstance(value, Mapping):
    return value
  return Fields({}, optional=value) if optional else Fields(value)


def _below(key, name):
  return f'{key} {name}' if key.endswith(':') else f'{key}.{name}'
