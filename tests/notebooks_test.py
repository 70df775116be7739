"""The notebooks run, and show what they say."""

import json
import os
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))
LARGEST = 100_000  # bytes of all figures together


def code_cells(notebook):
  return [x for x in notebook['cells'] if x['cell_type'] == 'code']


def printed(notebook):
  """All text that the cells of a notebook print, the errors included."""
  outputs = [x for cell in code_cells(notebook) for x in cell['outputs']]
  return ''.join(''.join(x.get('text', '')) for x in outputs)


def percents(notebook):
  """The share of right answers of each line that begins with a name."""
  lines = re.findall(r'^(.+?)  +([\d.]+)% of', printed(notebook), re.MULTILINE)
  return {name: float(percent) for name, percent in lines}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
  return request.param


def test_the_committed_cells_were_run_in_their_order_without_an_error(path):
  cells = code_cells(json.loads(path.read_text()))
  assert [x['execution_count'] for x in cells] == [*range(1, len(cells) + 1)]
  kinds = {x['output_type'] for cell in cells for x in cell['outputs']}
  assert kinds and 'error' not in kinds


def test_the_figures_are_small():
  cells = [x for p in NOTEBOOKS for x in code_cells(json.loads(p.read_text()))]
  outputs = [x for cell in cells for x in cell['outputs']]
  figures = [x['data']['image/png'] for x in outputs if 'image/png' in str(x)]
  assert figures and len(''.join(figures)) < LARGEST


def check_model(notebook):
  right = percents(notebook)
  assert right['causal, question last'] < 80
  assert right['causal, question first'] > 95
  assert right['prefix, question first'] > 95
  assert right['prefix, question last'] > 95


def check_prompts(notebook):
  right = percents(notebook)
  assert right['DQ'] == right['DDQ'] < 60
  assert right['QDQ'] == right['QDDQ'] == 100


CLAIMS = {
    'pla_in_your_own_model': check_model,
    'read_twice_with_any_model': check_prompts,
}


def test_the_committed_figures_are_those_that_the_text_speaks_of(path):
  CLAIMS[path.stem](json.loads(path.read_text()))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_notebook_runs_and_shows_what_it_says(path):
  """Leaves what it showed in build/notebooks/, from where it can be committed."""
  nbclient = pytest.importorskip('nbclient')
  nbformat = pytest.importorskip('nbformat')
  notebook = nbformat.read(path, as_version=4)
  client = nbclient.NotebookClient(
      notebook,
      timeout=600,
      record_timing=False,
      resources={'metadata': {'path': path.parent}},
  )
  # Its code is compiled as for users, unlike that of tests.
  client.execute(env=os.environ | {'XLA_FLAGS': '', 'PYTHONPATH': str(ROOT)})
  notebook.metadata.language_info = {'name': 'python'}  # of any version
  (built := ROOT / 'build' / 'notebooks').mkdir(parents=True, exist_ok=True)
  nbformat.write(notebook, built / path.name)
  CLAIMS[path.stem](notebook)
