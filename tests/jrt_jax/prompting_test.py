"""Prompting is for any model: it needs Python alone, and its README runs."""

import doctest
import importlib
import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / 'jrt_jax/prompting/README.md').read_text()
# All that prompting has but its command, used where no package is installed.
ALONE = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from jrt_jax import prompting
from jrt_jax.prompting import prompts, saliency, segment, templates

context, question = 'Bob has a dog. Ann has a cat.', 'Ann has a'
words = lambda text: len(text.split())
assert 'cat' in prompting.truncate_context(context, Tokenizer := type(
    'Letters', (), {{'encode': lambda self, text: [*map(ord, text)],
                     'decode': lambda self, ids: ''.join(map(chr, ids))}}
)(), 30, ['cat'])
parts = templates.Parts(question, context, question, f'{{context}} {{question}}')
print(json.dumps([
    prompting.jrt_prompt(context, question),
    prompting.read_twice(context),
    prompting.hierarchical_prompt(context, question, words).text,
    *(prompts.prompt(name, parts, parts) for name in prompts.PROMPTS),
    sorted(name for name in sys.modules if 'site-packages' in str(
        getattr(sys.modules[name], '__file__', None))),
]))
"""


def test_where_no_package_is_installed_all_prompts_can_be_made():
  done = subprocess.run(
      [sys.executable, '-I', '-S', '-c', ALONE], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  *prompts, packages = json.loads(done.stdout)
  assert all('cat' in prompt for prompt in prompts) and not packages
  first = 'Ann has a Bob has a dog. Ann has a cat.\nBob has a dog. '
  assert prompts[0] == f'{first}Ann has a cat. Ann has a'


def test_importing_prompting_imports_no_package_where_there_are_some():
  code = 'import sys\nfrom jrt_jax import prompting\nprint(*sys.modules)'
  done = subprocess.run(
      [sys.executable, '-c', code],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      text=True,
      check=True,
  )
  assert {'jax', 'flax', 'numpy', 'tokenizers'}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize('name', ['', '.read_twice_prompts'])
def test_what_docstrings_show_is_what_happens(name):
  module = importlib.import_module(f'jrt_jax.prompting{name}')
  found = doctest.testmod(module)
  assert found.attempted and not found.failed


def test_what_its_readme_shows_is_what_happens():
  examples = '\n'.join(re.findall(r'```pycon\n(.*?)```', README, re.DOTALL))
  test = doctest.DocTestParser().get_doctest(examples, {}, 'README', None, 0)
  found = doctest.DocTestRunner().run(test)
  assert found.attempted > 4 and not found.failed
