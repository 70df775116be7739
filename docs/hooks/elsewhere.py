"""Pages of the site that lie elsewhere in the repository (hooks of mkdocs).

The links of all pages work in the repository as well, where README.md is two
levels up from what it is here.
"""

import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[2]
ELSEWHERE = {
    'README.md': 'index.md',
    **{
        name: name
        for name in (
            'CHANGELOG.md',
            'CONTRIBUTING.md',
            'WORKSPACE.md',
            'jrt_jax/prompting/README.md',
            'launch/README.md',
            'pallas_kernels/README.md',
            'jrt_jax/evaluation/lm_eval_tasks/README.md',
        )
    },
}


def on_files(files, config):
  """Adds them."""
  for path, page in ELSEWHERE.items():
    content = (ROOT / path).read_text()
    if '/' in path:
      content = content.replace('../docs/', '../')
    else:
      content = content.replace('](docs/', '](')
    files.append(File.generated(config, page, content=content))
  return files


def on_page_markdown(markdown, page, **_):
  """Links out of docs/ lead to the same pages here."""
  if '/' in page.file.src_uri:
    return markdown
  return re.sub(r'\]\(\.\./', '](', markdown)
