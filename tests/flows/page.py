"""A page as what its reader does: shell commands, in their order.

Blocks say in their first line what they hold: `sh` has commands, `python` a script,
`pycon` a session (one for the page), and `text` what the commands above it print. A
command in the middle of a sentence counts where it has arguments; … in it says that it
is not whole.
"""

import dataclasses
import re

LANGUAGES = ('sh', 'python', 'pycon', 'text')

_PART = re.compile(r'^```(\w*)\n(.*?)^```$|`([^`]+)`', re.MULTILINE | re.DOTALL)
# A duration too, of one unit or of two: 53s, 1m47s.
_NUMBER = re.compile(r'\b\d+[ydhm]\d\d[dhms]\b|\b\d+s\b|-?\d[\d.,]*')
_IN_A_SENTENCE = re.compile(
    r'(make \S|python -c |python -m \S+ \S|pip install )'
)


@dataclasses.dataclass
class Step:
  """A command of the shell, and what the page shows that it prints."""

  line: int
  command: str
  shown: str = ''


def languages(text: str) -> set[str]:
  """Returns what the blocks of a page hold."""
  return {language for language, block, _ in _PART.findall(text) if block}


def steps(text: str) -> list[Step]:
  """Returns what a page has its reader do, each command once."""
  parts = _PART.findall(text)
  session = '\n'.join(block for kind, block, _ in parts if kind == 'pycon')
  found = {}
  for part in _PART.finditer(text):
    language, block, span = part.groups()
    block = session if language == 'pycon' else block
    line = text.count('\n', 0, part.start()) + 1
    if language == 'text':
      if found:
        [*found.values()][-1].shown += block
      continue
    for command in _commands(language, block, span):
      found.setdefault(command, Step(line, command))
  return [*found.values()]


def _commands(language, block, span):
  if language == 'sh':
    lines = block.replace('\\\n', ' ').splitlines()
    lines = [re.sub(r'(^|\s)# .*', '', line) for line in lines]
    return [' '.join(line.split()) for line in lines if line.strip()]
  if language == 'python':
    return [f"python - << 'END'\n{block}END"]
  if language == 'pycon':
    return [f"cat > page.txt << 'END'\n{block}END\npython -m doctest page.txt"]
  sentence = ' '.join((span or '').split())
  whole = _IN_A_SENTENCE.match(sentence) and '…' not in sentence
  return [sentence] if whole else []


def unlike(shown: str, printed: str, *, numbers: bool) -> list[str]:
  """Returns the lines that a page shows and a command has not printed.

  Args:
    shown: the block of the page.
    printed: what the command printed.
    numbers: whether they must be the same too.
  """

  def lines(text):
    if not numbers:
      text = _NUMBER.sub('#', text)
    return [' '.join(line.split()) for line in text.splitlines()]

  known = {*lines(printed)}
  return [line for line in lines(shown) if line not in known]
