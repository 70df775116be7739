import json

import hypothesis
from hypothesis import strategies as st
import pytest

from configs import base
from configs import recorded


@pytest.fixture(scope='module')
def file(tmp_path_factory):
  return tmp_path_factory.mktemp('run') / 'config.json'


def write(file, key='seed', value=0):
  """Writes the defaults, with another value of one dotted key."""
  config = base.get_config().to_dict()
  *above, name = key.split('.')
  inner = config
  for part in above:
    inner = inner[part]
  inner[name] = value
  file.write_text(json.dumps(config))


def keys(ranges=base.KEYS, above=''):
  for name, inner in ranges.items():
    yield above + name
    if isinstance(inner, dict):
      yield from keys(inner, f'{above}{name}.')


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@hypothesis.settings(deadline=None, derandomize=True)
@hypothesis.given(st.sampled_from([*keys()]), values)
def test_any_value_is_taken_or_refused_in_one_line_with_its_key(
    file, key, value
):
  write(file, key, value)
  try:
    base.check(recorded.get_config(str(file)).to_dict())
  except ValueError as error:
    assert str(error).startswith(f'{file}: {key}')
    assert '\n' not in str(error) and len(str(error)) < 300 + len(str(file))


def test_a_config_that_lacks_nothing_is_read_without_a_word(file, capsys):
  write(file, 'optimizer.peak_lr', 1)
  assert recorded.get_config(str(file)).optimizer.peak_lr == 1
  assert not capsys.readouterr().err
