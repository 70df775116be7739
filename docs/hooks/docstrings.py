"""Docstrings as Markdown (an extension of griffe, which reads them).

Examples that begin with >>> and blocks that are indented after a blank line, such
as equations, become blocks of code.
"""

import re

import griffe

# A line of Google style that a section of an argument list follows.
_SECTION = re.compile(r'(Args|Attributes|Raises|Returns|Yields):$')


class Docstrings(griffe.Extension):
  """Rewrites the docstring of everything that is loaded."""

  def on_object(self, *, obj, **_):
    if obj.docstring:
      obj.docstring.value = markdown(obj.docstring.value)


def markdown(text):
  """Returns a docstring whose blocks of code are fenced."""
  blocks, in_section = [], False
  for block in re.split(r'\n\n+', text):
    first = block.partition('\n')[0]
    if not first.startswith(' '):
      in_section = bool(_SECTION.match(first))
    if first.lstrip().startswith('>>> '):
      block = _fenced('pycon', block)
    elif first.startswith(' ') and not in_section:
      block = _fenced('text', block)
    blocks.append(block)
  return '\n\n'.join(blocks)


def _fenced(language, block):
  lines = block.split('\n')
  indent = min(len(x) - len(x.lstrip()) for x in lines if x.strip())
  return '\n'.join([f'```{language}', *(x[indent:] for x in lines), '```'])
