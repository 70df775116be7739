"""The page of all keys of a config (hooks of mkdocs).

It is made from the source of configs/base.py and of the files of configs/keys.
"""

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
`--config.model.width=512`. This page is made from `configs/base.py` and the files of
`configs/keys`. The defaults are those of the paper's JRT-RNN 360M; the other configs
change some of them.
"""


def on_files(files, config):
  """Adds the page."""
  files.append(File.generated(config, PAGE, content=page()))
  return files


def page():
  """Returns the page, in Markdown."""
  blocks = [INTRODUCTION]
  for prefix, about, rows in _sections('config', '', *_keys(base)):
    head = f'## {prefix}\n\n{about}'.rstrip()
    table = [
        '| key | default | what it sets | what it may be |',
        '|---|---|---|---|',
        *('| ' + ' | '.join(row) + ' |' for row in rows),
    ]
    blocks.append(f'{head}\n\n' + '\n'.join(table))
  return '\n\n'.join(blocks) + '\n'


def _keys(module):
  """The `KEYS = dict(…)` of a module: its syntax, itself, and the module."""
  (syntax,) = (
      node.value
      for node in ast.parse(inspect.getsource(module)).body
      if isinstance(node, ast.Assign | ast.AnnAssign)
      and ast.unparse(node).startswith(('KEYS:', 'KEYS ='))
  )
  return syntax, module.KEYS, module


def _sections(prefix, about, syntax, keys, module):
  """Yields the name, the comment and the rows of a dict, and of those in it."""
  rows, inner = [], []
  source = inspect.getsource(module)
  for keyword in syntax.keywords:
    name, value = keyword.arg, keys[keyword.arg]
    comment = _comment(keyword, source, isinstance(value, Mapping))
    if isinstance(value, Mapping):
      where = keyword.value, value, module
      if isinstance(keyword.value, ast.Attribute):  # MODULE.KEYS
        where = _keys(getattr(module, keyword.value.value.id))
      inner.append((f'{prefix}.{name}', comment, *where))
      continue
    if not comment:
      raise ValueError(
          f'{prefix}.{name} must have a comment in {module.__name__}'
      )
    default = ast.get_source_segment(source, keyword.value.elts[0])
    default = ' '.join(default.split())
    rows.append((f'`{name}`', f'`{default}`', comment, _cell(str(value[1]))))
  yield prefix, about, rows
  yield from itertools.chain.from_iterable(_sections(*each) for each in inner)


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
