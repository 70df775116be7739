"""What README.md and the pages of docs/ show exists, and runs as it is shown."""

import configparser
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import jax.numpy as jnp
import pytest

from configs import base
from jrt_jax import renamed
from launch import __main__ as launch_main

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / 'README.md'
PAGES = [
    README,
    ROOT / 'launch' / 'README.md',
    ROOT / 'pallas_kernels' / 'README.md',
    ROOT / 'jrt_jax' / 'prompting' / 'README.md',
    *sorted((ROOT / 'docs').glob('*.md')),
    ROOT / 'docs' / 'reference' / 'choices.md',
]


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def page(request):
  return request.param


def test_the_example_of_the_operation_runs_and_reads_its_prefix():
  (code,) = re.findall(
      r'```python\n(def mixer.*?|import jax\n.*?)```',
      README.read_text(),
      re.DOTALL,
  )
  names = {}
  exec(code, names)  # pylint: disable=exec-used
  mixer, weights, x, y = (names[n] for n in ('mixer', 'weights', 'x', 'y'))
  changed = x.at[:, 99].add(1)
  y_changed = mixer(weights, changed, jnp.array([100, 0]))
  assert abs(y_changed - y)[0, 0].max() > 1e-3  # position 99 is prefix
  assert abs(y_changed - y)[1, :99].max() < 1e-5  # and is not


def test_every_file_that_it_names_exists(page):
  for path in re.findall(
      r'(?<![\w/.])(?:configs|launch|pallas_kernels)/[\w./]*\w',
      page.read_text(),
  ):
    assert (ROOT / path).exists(), path


def test_every_link_leads_to_a_file_and_its_heading(page):
  for target in re.findall(r'\]\(([^)]*)\)', page.read_text()):
    if target.startswith('https://'):
      continue
    name, _, heading = target.partition('#')
    path = page.parent / name if name else page
    assert path.exists(), target
    if heading:
      assert heading in headings(path), target


def headings(path):
  """The anchors that a page has."""
  lines = re.findall(r'^#+ (.*)$', path.read_text(), re.MULTILINE)
  return [re.sub(r'[^\w -]', '', x.lower()).replace(' ', '-') for x in lines]


def test_every_command_that_it_names_exists(page):
  for module in re.findall(
      r'python -m ((?:jrt_jax|launch|pallas)[\w.]*)', page.read_text()
  ):
    assert importlib.util.find_spec(module), module
    assert module not in renamed.COMMANDS


def test_every_key_that_it_names_exists(page):
  config = base.get_config()
  for key in re.findall(r'--config\.([a-z_0-9.]+)=', page.read_text()):
    node = config
    for part in key.split('.'):
      node = node[part]


def test_every_extra_that_it_names_exists(page):
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg')
  extras = re.findall(r"pip install -e '\.\[(\w+)\]'", page.read_text())
  assert {*extras} <= {*setup['options.extras_require']}


@pytest.mark.parametrize(
    'keys',
    ['model.mixers', 'model.feature_map.name', 'prefix.name', 'objective.name'],
)
def test_the_reference_has_every_choice_of_a_config(keys):
  page = ROOT / 'docs' / 'reference' / 'choices.md'
  schema = base.RANGES
  for key in keys.split('.'):
    schema = schema[key]
  choices = getattr(schema, 'item', schema).choices
  assert len(choices) > 2
  missing = [x for x in choices if f'`{x}`' not in page.read_text()]
  assert not missing


def flags_shown():
  """{module: flags} of the commands that pages show."""
  found = {}
  for path in PAGES:
    text = path.read_text().replace('\\\n', ' ')
    commands = re.findall(r'^.*?python -m .*$', text, re.MULTILINE)
    commands = [x for x in commands if '`' not in x and '|' not in x]
    commands += re.findall(r'`(python -m [^`]*)`', text)
    for command in commands:
      module = re.search(r'python -m ([\w.]+)', command)[1]
      ours = command.split('#')[0].split(' -- ')[0].split(module, 1)[1]
      flags = re.findall(r'(?<=\s)--(\w+)', ours)
      found.setdefault(module, set()).update(set(flags) - {'config'})
  return {module: flags for module, flags in found.items() if flags}


@pytest.mark.slow  # each command imports jax
@pytest.mark.parametrize('module', flags_shown())
def test_every_flag_that_pages_give_a_command_exists(module):
  commands = [[module, '--helpfull']]
  if module == 'launch':
    names = launch_main.LAUNCHERS
    commands = [['launch', name, '--help'] for name in names]
  elif module == 'jrt_jax.lm_eval_cli':
    commands = [[module, 'run', '--help']]
  elif module.startswith('pallas_kernels'):
    commands = [[module, '--help']]
  texts = [
      subprocess.run(
          [sys.executable, '-m', *command],
          cwd=ROOT,
          env=os.environ | {'XLA_FLAGS': ''},
          capture_output=True,
          text=True,
      ).stdout
      for command in commands
  ]
  known = set(re.findall(r'--(?:\[no\])?(\w+)', ' '.join(texts)))
  assert flags_shown()[module] <= known
