"""The notebooks as pages of the site, with what they showed (hooks of mkdocs)."""

import base64
import json
import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]


def on_files(files, config):
  """Adds a page for each, and a file for each of its figures."""
  for path in sorted((ROOT / 'notebooks').glob('*.ipynb')):
    text, figures = _page(path)
    files.append(
        File.generated(config, f'notebooks/{path.stem}.md', content=text)
    )
    for name, content in figures.items():
      files.append(File.generated(config, f'notebooks/{name}', content=content))
  return files


def on_page_markdown(markdown, **_):
  """Links to a notebook lead to its page."""
  return re.sub(r'(\]\([^):]*)\.ipynb\)', r'\1.md)', markdown)


def _page(path):
  """Returns Markdown, and {name: bytes} of the figures that it shows."""
  notebook, blocks, figures = json.loads(path.read_text()), [], {}
  for cell in notebook['cells']:
    source = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown':
      # The page lies beside the pages of docs/, not beside that folder.
      blocks.append(source.replace('](../docs/', '](../'))
      continue
    blocks.append(f'```python\n{source}\n```')
    printed = ''
    for output in cell['outputs']:
      printed += ''.join(output.get('text', ''))
      if figure := output.get('data', {}).get('image/png'):
        name = f'{path.stem}_{len(figures) + 1}.png'
        figures[name] = base64.b64decode(''.join(figure))
        blocks.append(f'![]({name})')
    if printed:
      blocks.append(f'```text\n{printed.rstrip()}\n```')
  link = f'This page is the notebook `notebooks/{path.name}` of the repository.'
  return '\n\n'.join([*blocks[:1], link, *blocks[1:]]), figures
