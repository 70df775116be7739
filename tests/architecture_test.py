"""Holds the layers: what may import what.

Arrows run one way. `pallas_kernels` could ship alone; what is host-side never
sees a model; models know neither data nor training; what runs processes and what
people look at know neither; nobody imports an entry point; configs are data.
"""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ('configs', 'jrt_jax', 'launch', 'pallas_kernels')

# All that a package may import, besides Python's own. The innermost package that
# is named here decides.
ONLY = {
    'configs': {'configs', 'ml_collections'}
    | {'jrt_jax.builtin_models', 'jrt_jax.schema'},
    'pallas_kernels': {'jax', 'numpy', 'pallas_kernels'},
    # What figures and comparisons need; whoever lacks it does without.
    'pallas_kernels.benchmarks': {'jax', 'numpy', 'pallas_kernels'}
    | {'dew_flash_attn', 'fla', 'jla', 'matplotlib', 'torch'},
    # Copied to where there is nothing else.
    'jrt_jax.interchange.remote_code': {'numpy', 'torch', 'transformers'}
    | {'jrt_jax.interchange.remote_code'},
}

# The packages of jrt_jax. Each imports what stands below it, and nothing that
# stands above it or beside it.
LAYERS = (
    ('api', 'reproduce'),
    ('benchmarks', 'evaluation', 'interchange', 'planning'),
    ('generation',),
    ('training',),
    ('models', 'prompting'),
    ('data',),
    ('compiled', 'reporting'),
    ('runtime',),
    ('cost',),
    ('prefix',),
)

# It changes the program that imports it, and so stands outside the layers.
FOR_COMMANDS = 'jrt_jax.command_line'

_WITHOUT_JAX = {
    'flax',
    'jax',
    'jrt_jax.models',
    'jrt_jax.runtime',
    'jrt_jax.training',
    'pallas_kernels',
}

# What else a package must not import, nor anything inside it.
NEVER = {
    # Host-side, or for any model.
    'jrt_jax.data': {'pallas_kernels'},
    'jrt_jax.prefix': {'jax', 'pallas_kernels'},
    'jrt_jax.prompting': {'jax', 'pallas_kernels'},
    'jrt_jax.reporting': {'jrt_jax.prefix', 'pallas_kernels'},
    'jrt_jax.runtime': {'jrt_jax.prefix', 'pallas_kernels'},
    # What a plan is made of starts at once.
    'jrt_jax.compiled': _WITHOUT_JAX,
    'jrt_jax.cost': _WITHOUT_JAX,
    'jrt_jax.planning.budget': _WITHOUT_JAX,
    'jrt_jax.planning.budget_table': _WITHOUT_JAX,
    'jrt_jax.planning.compiled_table': _WITHOUT_JAX,
    'jrt_jax.planning.microbatches': _WITHOUT_JAX,
    # A function of its parameters.
    'jrt_jax.models': {
        'grain',
        'jrt_jax.data',
        'jrt_jax.prefix',
        'jrt_jax.reporting',
        'jrt_jax.runtime',
        'ml_collections',
        'optax',
        'orbax',
    },
    # Questions about what is computed, never about what was trained.
    'jrt_jax.evaluation.synthetic': {
        'jrt_jax.data',
        'jrt_jax.generation',
        'jrt_jax.training',
    },
    'launch': {'jax', 'jrt_jax', 'pallas_kernels'},
}


def within(name, packages):
  """Whether the dotted `name` is one of `packages` or lies inside one."""
  return any(f'{name}.'.startswith(f'{package}.') for package in packages)


def not_below(name):
  """The packages that stand above, or beside, that of the module `name`."""
  above = set()
  for line in LAYERS:
    above |= (packages := {f'jrt_jax.{package}' for package in line})
    for own in packages:
      if within(name, [own]):
        return above - {own}
  return set()


def parse_modules(root):
  """Returns {dotted name: (path, syntax tree)} of all packages in `root`."""
  modules = {}
  for path in sorted(p for d in PACKAGES for p in (root / d).rglob('*.py')):
    parts = path.relative_to(root).with_suffix('').parts
    if parts[-1] == '__init__':
      parts = parts[:-1]
    modules['.'.join(parts)] = path, ast.parse(path.read_text())
  return modules


def imported_names(name, path, tree):
  """Yields each dotted name that a module imports, in functions as well."""
  package = name.split('.') if path.stem == '__init__' else name.split('.')[:-1]
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      # One dot is the package itself, every further one the package around it.
      base = package[: len(package) - node.level + 1] if node.level else []
      start = '.'.join([*base, *filter(None, [node.module])])
      yield from (f'{start}.{alias.name}' for alias in node.names)


def is_entry_point(name, tree):
  """Whether `python -m name` does something."""
  return name.endswith('.__main__') or any(
      isinstance(node, ast.If) and '__main__' in ast.dump(node.test)
      for node in tree.body
  )


def broken_layers(root):
  """Returns a line for each import in `root` that runs against the arrows."""
  modules = parse_modules(root)
  entries = {n for n, (_, tree) in modules.items() if is_entry_point(n, tree)}
  lines = []
  for name, (path, tree) in modules.items():
    around = [package for package in ONLY if within(name, [package])]
    only = ONLY[max(around, key=len)] if around else None
    never = entries.union(*(NEVER[p] for p in NEVER if within(name, [p])))
    never |= not_below(name)
    if name in entries:  # nobody imports it, so that it may read data and tell
      never -= {'jrt_jax.data', 'jrt_jax.reporting'}
    elif not within(name, [FOR_COMMANDS]):
      never |= {FOR_COMMANDS, 'jrt_jax.runtime.compilation_cache'}
    for imported in imported_names(name, path, tree):
      outside = only and not within(imported, only | sys.stdlib_module_names)
      if outside or within(imported, never):
        lines.append(f'{name} imports {imported}')
  return lines


def unknown_imports(root):
  """Returns a line for each import of a module of ours that does not exist."""
  modules, lines = parse_modules(root), []
  for name, (path, tree) in modules.items():
    if within(name, ['jrt_jax.interchange.remote_code']):
      continue  # an export copies more files beside these
    for imported in imported_names(name, path, tree):
      module = imported.rpartition('.')[0]
      if within(imported, PACKAGES) and not {imported, module} & {*modules}:
        lines.append(f'{name} imports {imported}')
  return lines


def write_tree(root, files):
  for name, text in files.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_imports_run_one_way():
  assert not broken_layers(ROOT)


def test_every_module_of_ours_that_is_imported_exists(tmp_path):
  assert not unknown_imports(ROOT)
  write_tree(tmp_path, {'jrt_jax/a.py': 'def f():\n  from jrt_jax.b import c'})
  assert unknown_imports(tmp_path) == ['jrt_jax.a imports jrt_jax.b.c']


def test_every_package_has_its_place_among_the_layers():
  packages = [p.parent.name for p in (ROOT / 'jrt_jax').glob('*/__init__.py')]
  packages.remove(FOR_COMMANDS.removeprefix('jrt_jax.'))
  assert sorted(packages) == sorted(x for line in LAYERS for x in line)


def test_the_map_shows_the_layers():
  text = (ROOT / 'WORKSPACE.md').read_text()
  picture = text.split('## The layers')[1].split('\n\n')[2]
  shown = [line.split()[0] for line in picture.splitlines()]
  assert [x for x in shown if any(x in line for line in LAYERS)] == [
      x for line in LAYERS for x in line
  ]


# Imports modules into a program, and prints what of it has changed.
HOST = """
import contextlib, importlib, logging, signal, sys
import jax
from orbax.checkpoint import v1  # what it changes is not ours

def state():
  return {
      'excepthook': sys.excepthook,
      'signals': [signal.getsignal(x) for x in signal.valid_signals()],
      'path': [*sys.path],
      'logging': (logging.root.level, [*logging.root.handlers]),
      'jax.config': dict(jax.config.values),
  }

before = state()
for name in sys.argv[1:]:
  with contextlib.suppress(ImportError):  # of an extra
    importlib.import_module(name)
after = state()
print(*(part for part in before if before[part] != after[part]))
"""


def what_importing_changes(*modules):
  done = subprocess.run(
      [sys.executable, '-c', HOST, *modules],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      text=True,
      check=True,
  )
  return done.stdout.split()


def test_importing_a_library_changes_nothing_in_the_program():
  libraries = [
      name
      for name, (_, tree) in parse_modules(ROOT).items()
      if not is_entry_point(name, tree) and not within(name, [FOR_COMMANDS])
  ]
  assert not what_importing_changes(*libraries)
  assert what_importing_changes('jrt_jax.generate') == ['excepthook']


def test_importing_the_package_imports_nothing_else():
  code = 'import sys\nimport jrt_jax\nprint(*sys.modules)'
  done = subprocess.run(
      [sys.executable, '-c', code],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      text=True,
      check=True,
  )
  imported = done.stdout.split()
  assert [x for x in imported if x.startswith('jrt_jax')] == ['jrt_jax']
  assert {'jax', 'flax', 'numpy', 'configs'}.isdisjoint(imported)


@pytest.mark.parametrize(
    'file, text, imported',
    [
        ('pallas_kernels/a.py', 'import flax', 'flax'),
        ('pallas_kernels/a.py', 'from jrt_jax import x', 'jrt_jax.x'),
        ('pallas_kernels/a.py', 'def f():\n  import torch', 'torch'),
        ('pallas_kernels/benchmarks/a.py', 'import optax', 'optax'),
        ('configs/a.py', 'import jax.numpy as jnp', 'jax.numpy'),
        ('configs/a.py', 'from jrt_jax import models', 'jrt_jax.models'),
        ('launch/a/b.py', 'from jax import numpy', 'jax.numpy'),
        ('jrt_jax/prefix/a.py', 'import jrt_jax.models', 'jrt_jax.models'),
        ('jrt_jax/prefix/a.py', 'from ..data import b', 'jrt_jax.data.b'),
        ('jrt_jax/data/a.py', 'from .. import training', 'jrt_jax.training'),
        ('jrt_jax/data/__init__.py', 'from .. import models', 'jrt_jax.models'),
        ('jrt_jax/models/a.py', 'def f():\n  import optax', 'optax'),
        ('jrt_jax/models/a.py', 'from jrt_jax import data', 'jrt_jax.data'),
        ('jrt_jax/training/a.py', 'from jrt_jax import train', 'jrt_jax.train'),
        (
            'jrt_jax/training/a.py',
            'from jrt_jax.generation import b',
            'jrt_jax.generation.b',
        ),
        (
            'jrt_jax/generation/a.py',
            'import jrt_jax.evaluation',
            'jrt_jax.evaluation',
        ),
        ('jrt_jax/b.py', 'from jrt_jax.train import f', 'jrt_jax.train.f'),
        (
            'jrt_jax/training/a.py',
            'from jrt_jax import command_line',
            'jrt_jax.command_line',
        ),
        ('jrt_jax/interchange/remote_code/a.py', 'import jax', 'jax'),
        ('jrt_jax/cost/a.py', 'import jax', 'jax'),
        (
            'jrt_jax/runtime/a.py',
            'from jrt_jax import models',
            'jrt_jax.models',
        ),
        (
            'jrt_jax/runtime/a.py',
            'from jrt_jax import training',
            'jrt_jax.training',
        ),
        (
            'jrt_jax/reporting/a.py',
            'from jrt_jax import models',
            'jrt_jax.models',
        ),
        (
            'jrt_jax/training/a.py',
            'from jrt_jax.planning import b',
            'jrt_jax.planning.b',
        ),
        ('jrt_jax/planning/budget.py', 'import jax', 'jax'),
    ],
)
def test_an_import_against_the_arrows_is_found(tmp_path, file, text, imported):
  entry_point = 'def f(): ...\nif __name__ == "__main__":\n  f()\n'
  write_tree(tmp_path, {'jrt_jax/train.py': entry_point, file: text})
  name = file.removesuffix('.py').removesuffix('/__init__').replace('/', '.')
  assert broken_layers(tmp_path) == [f'{name} imports {imported}']


@pytest.mark.parametrize(
    'file, text',
    [
        ('pallas_kernels/a.py', 'import math, jax.numpy, numpy as np'),
        ('pallas_kernels/benchmarks/a.py', 'import torch'),
        ('configs/a.py', 'import ml_collections\nfrom configs import base'),
        ('configs/a.py', 'from jrt_jax.schema import Whole'),
        ('jrt_jax/data/a.py', 'import grain\nfrom jrt_jax.prefix import b'),
        ('jrt_jax/models/a.py', 'from jrt_jax import database'),
        ('jrt_jax/train.py', 'from jrt_jax.training import loss'),
        (
            'jrt_jax/a.py',
            'from jrt_jax import command_line\nif __name__ == "__main__": ...',
        ),
        ('jrt_jax/generation/a.py', 'from jrt_jax.training import workdirs'),
    ],
)
def test_an_import_along_the_arrows_is_fine(tmp_path, file, text):
  write_tree(tmp_path, {file: text})
  assert not broken_layers(tmp_path)
