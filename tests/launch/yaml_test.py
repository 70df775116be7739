"""What is written as YAML is read as the same, by PyYAML."""

import hypothesis
from hypothesis import strategies as st
import pytest
import yaml as pyyaml

from launch import yaml

_TEXTS = st.text(st.characters(exclude_categories=['Cs']), max_size=20)
_WORDS = st.text('aeinouylfsr01.:-=#/ \n', max_size=8)  # yes, null, 1e1, a: b …
_VALUES = st.recursive(
    st.booleans() | st.integers() | _TEXTS | _WORDS,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(_WORDS, x, max_size=3),
    max_leaves=8,
)


@hypothesis.given(_VALUES)
@hypothesis.settings(max_examples=300, deadline=None)
def test_any_value_is_read_back(value):
  document = {'key': value}
  assert pyyaml.safe_load(yaml.text(document)) == document


def test_it_reads_like_yaml():
  value = {
      'name': 'a-b',
      'list': [{'image': 'docker:x/y:1', 'count': 8}, '-m', '--x=y'],
      'switch': True,
      'no': 'no',
      'number': '0.9',
      'none': {},
      'run': 'if x; then\n  y: z\nfi\n',
  }
  assert yaml.text(value) == """\
name: a-b
list:
  - image: docker:x/y:1
    count: 8
  - -m
  - --x=y
switch: true
"no": "no"
number: "0.9"
none: {}
run: |
  if x; then
    y: z
  fi
"""


@pytest.mark.parametrize(
    'value', ['\n', ' a\n', 'a\n\n', 'a\tb\nc\n', 'é\n\x85\n']
)
def test_blocks_that_yaml_would_change_are_quoted(value):
  assert pyyaml.safe_load(yaml.text({'run': value})) == {'run': value}
