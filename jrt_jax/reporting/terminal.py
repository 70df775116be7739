"""Writes text to stdout: made safe on a terminal, unchanged elsewhere."""

import sys
import unicodedata

_ECHOED = 1000  # characters at the end of a prompt
_PLAIN = '\n\t'
# Characters that change the direction of text, and so can hide what is written.
_DIRECTIONS = 'LRE', 'RLE', 'LRO', 'RLO', 'PDF', 'LRI', 'RLI', 'FSI', 'PDI'


def write(text: str) -> None:
  """Writes and flushes a text; on a terminal, see `printable`."""
  shown = printable(text) if sys.stdout.isatty() else text
  print(shown, end='', flush=True)


def echo(prompt: str) -> None:
  """Shows the end of the prompt that is continued, on a terminal only."""
  if sys.stdout.isatty():
    write('…' * (len(prompt) > _ECHOED) + prompt[-_ECHOED:])


def printable(text: str) -> str:
  r"""Returns a text with escaped control characters, as in \x1b.

  A terminal would obey them: they move the cursor, erase text, change the
  title, or produce input.
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
