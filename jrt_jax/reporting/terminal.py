"""Text on stdout: safe on a terminal, as it is in a pipe or a file."""

import sys
import unicodedata

_ECHOED = 1000  # characters at the end of a prompt
_PLAIN = '\n\t'
# They turn around the direction of what follows, and so hide what is written.
_DIRECTIONS = 'LRE', 'RLE', 'LRO', 'RLO', 'PDF', 'LRI', 'RLI', 'FSI', 'PDI'


def write(text: str) -> None:
  """Writes a text at once, `printable` if stdout is a terminal."""
  shown = printable(text) if sys.stdout.isatty() else text
  print(shown, end='', flush=True)


def echo(prompt: str) -> None:
  """Shows on a terminal, and there only, what is continued, or its end."""
  if sys.stdout.isatty():
    write('…' * (len(prompt) > _ECHOED) + prompt[-_ECHOED:])


def printable(text: str) -> str:
  r"""Returns a text whose control characters are spelled out, as in \x1b.

  A terminal obeys them: they move, erase, retitle, and answer as if typed.
  """
  return ''.join(map(_printable, text))


def _printable(character):
  if character in _PLAIN or not _is_control(character):
    return character
  return character.encode('unicode_escape').decode()


def _is_control(character):
  return (
      unicodedata.category(character) == 'Cc'
      or unicodedata.bidirectional(character) in _DIRECTIONS
  )
