"""The page of all keys of a config, from configs/base.py (hooks of mkdocs)."""

import ast
from collections.abc import Mapping
import html
import inspect
import itertools

from mkdocs.structure.files import File

from configs import base

PAGE = 'config_keys.md'
INTRODUCTION = """\
# Config keys

Every key of a run. Any of them can be set on the command line, for example
`--config.model.width=512`. `configs/base.py`, from which this page is made, has
the same. The defaults are those of the paper's JRT-RNN 360M; the other configs
change some of them.
"""


def on_files(files, config):
  """Adds the page."""
  text = page(inspect.getsource(base))
  files.append(File.generated(config, PAGE, content=text))
  return files


def page(source):
  """Returns the page, in Markdown.

  Args:
    source: of configs/base.py, whose `KEYS: … = dict(…)` has tuples and dicts.
  """
  blocks = [INTRODUCTION]
  sections = _sections('config', '', _keys(source), base.KEYS, source)
  for prefix, about, rows in sections:
    head = f'## {prefix}\n\n{about}'.rstrip()
    table = [
        '| key | default | what it sets | what it may be |',
        '|---|---|---|---|',
        *('| ' + ' | '.join(row) + ' |' for row in rows),
    ]
    blocks.append(f'{head}\n\n' + '\n'.join(table))
  return '\n\n'.join(blocks) + '\n'


def _sections(prefix, about, node, keys, source):
  """Yields the name, the comment and the rows of a dict, and of those in it."""
  rows, inner = [], []
  for keyword in node.keywords:
    name, value = keyword.arg, keys[keyword.arg]
    comment = _comment(keyword, source, isinstance(value, Mapping))
    if isinstance(value, Mapping):
      inner.append(
          (f'{prefix}.{name}', comment, *_dict(keyword.value, value, source))
      )
      continue
    if not comment:
      raise ValueError(
          f'{prefix}.{name} must have a comment in configs/base.py'
      )
    default = ast.get_source_segment(source, keyword.value.elts[0])
    default = ' '.join(default.split())
    rows.append((f'`{name}`', f'`{default}`', comment, _cell(str(value[1]))))
  yield prefix, about, rows
  yield from itertools.chain.from_iterable(_sections(*each) for each in inner)


def _keys(source):
  """The expression `dict(…)` of `KEYS` in the source of a module."""
  (value,) = (
      node.value
      for node in ast.parse(source).body
      if ast.unparse(node).startswith(('KEYS = ', 'KEYS: '))
  )
  return value


def _dict(node, value, source):
  """The expression of a dict of keys, its value, and the source with both.

  The expression is `dict(…)`, or `optimizer.KEYS` for one that has a file.
  """
  if isinstance(node, ast.Attribute):
    source = inspect.getsource(getattr(base, ast.unparse(node.value)))
    node = _keys(source)
  return node, value, source


def _comment(keyword, source, is_dict):
  """What is said of a key: above it, or at the end of its lines."""
  lines = source.splitlines()
  first = keyword.lineno - 1
  above = itertools.takewhile(
      lambda line: line.strip().startswith('#'), reversed(lines[:first])
  )
  own = lines[first : first + 1 if is_dict else keyword.end_lineno]
  found = [*reversed([*above]), *(x for x in own if '  # ' in x)]
  return _cell(' '.join(line.partition('# ')[2].strip() for line in found))


def _cell(text):
  return html.escape(text, quote=False).replace('|', r'\|').replace('*', r'\*')
