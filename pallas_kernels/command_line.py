"""Flags of this package's commands: a mistake is one line and exit code 2."""

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any


class Parser(argparse.ArgumentParser):
  """Parses flags, and names the new flag for an old one.

  Args:
    renamed: new flags by their old names, both with dashes.
    **options: arguments of `argparse.ArgumentParser`.
  """

  def __init__(self, *, renamed: Mapping[str, str] = {}, **options: Any):
    super().__init__(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **options,
    )
    self._renamed = renamed

  def parse(self, argv: Sequence[str]) -> argparse.Namespace:
    """Returns the flags; ends the program on a mistake."""
    for argument in argv:
      old = argument.partition('=')[0]
      if old in self._renamed:
        self.error(f'{old} is now {self._renamed[old]}')
    parsed, rest = self.parse_known_args(argv)
    if rest and not rest[0].startswith('-'):
      self.error(f'values of a flag are separated by commas, got {rest[0]!r}')
    if rest:
      self.error(f'unrecognized arguments: {" ".join(rest)}')
    return parsed

  def error(self, message: str):
    self.exit(2, f'error: {message}\n')


def several(
    kind: Callable[[str], Any], choices: Collection[Any] | None = None
) -> Callable[[str], tuple[Any, ...]]:
  """Returns the `type` of a flag with values that are separated by commas.

  Args:
    kind: converts a text to a value.
    choices: the allowed values; None: all.
  """

  def values(text):
    result = tuple(kind(value) for value in text.split(','))
    for value in result:
      if choices is not None and value not in choices:
        raise argparse.ArgumentTypeError(
            f'invalid choice: {value} (choose from'
            f' {", ".join(map(str, choices))})'
        )
    return result

  return values
