import json
import pathlib

import numpy as np
import pytest

from configs import base
from jrt_jax.data import examples
from jrt_jax.prefix import fitting
from jrt_jax.prefix import policies

TOKENS = np.random.default_rng(0).integers(np.arange(1, 1001) // 20 + 1)
WHAT = {'sequence_length': 20, 'tokenizer': 'bytes'}


@pytest.fixture
def file(settings, tmp_path):
  """What calibration wrote, for the settings `name='entropy'`."""
  path = str(tmp_path / 'new' / 'policy.json')
  windows = fitting.sample_windows(TOKENS, 20)
  prefix = settings(name='entropy')
  fitting.write(path, fitting.calibrated(prefix, windows, 'bytes'))
  return path


def test_windows_are_spread_over_the_stream_without_copies():
  tokens = np.arange(105)
  windows = fitting.sample_windows(tokens, 10, count=4)
  assert [window[0] for window in windows] == [0, 30, 60, 90]
  assert all(len(w) == 10 and np.shares_memory(w, tokens) for w in windows)
  assert len(fitting.sample_windows(tokens, 10)) == 10
  np.testing.assert_array_equal(fitting.sample_windows(tokens, 200), [tokens])


@pytest.mark.parametrize('name', ['none', 'full', 'fixed', 'uniform'])
def test_policies_that_look_at_nothing_need_no_fit(settings, name):
  prefix = settings(name=name)
  assert fitting.fitted(prefix, TOKENS, **WHAT) == prefix


def test_without_a_file_entropy_is_calibrated_on_the_data(settings):
  prefix = settings(name='entropy', signal='distinct_ratio', capacity=1.0)
  prefix = fitting.fitted(prefix, TOKENS, **WHAT)
  rng = np.random.default_rng(0)
  windows = TOKENS.reshape(-1, 20)
  lengths = policies.lengths(windows, prefix, 20, rng)
  values, counts = np.unique(lengths, return_counts=True)
  assert values.tolist() == [9, 10, 11]
  np.testing.assert_allclose(counts / len(windows), 1 / 3, atol=0.1)
  # Few different tokens at the beginning, many at the end.
  assert lengths[:10].max() < lengths[-10:].min()


def test_a_file_gives_what_calibration_gave(settings, file):
  calibrated = fitting.fitted(settings(name='entropy'), TOKENS, **WHAT)
  read = fitting.fitted(settings(name='entropy', file=file), None, **WHAT)
  assert json.dumps(read['fitted']) == json.dumps(calibrated['fitted'])


@pytest.mark.parametrize(
    ('changes', 'what', 'message'),
    [
        ({}, {'tokenizer': 'b7'}, 'made for tokenizer b7, but it is for bytes'),
        ({}, {'sequence_length': 30}, 'made for tokens 30, but it is for 20'),
        ({'window': 8}, {}, 'made for window 8, but it is for 0'),
        ({'quantiles': (0.5,)}, {}, r'made for quantiles \[0.5\], but'),
        ({'name': 'learned'}, {}, 'policy learned, but it is for entropy'),
    ],
)
def test_a_file_for_something_else_is_refused(
    settings, file, changes, what, message
):
  prefix = settings(**{'name': 'entropy', 'file': file, **changes})
  with pytest.raises(ValueError, match=message):
    fitting.fitted(prefix, TOKENS, **{**WHAT, **what})


def test_a_learned_policy_needs_a_file(settings):
  with pytest.raises(ValueError, match="'learned' needs config.prefix.file"):
    fitting.fitted(settings(name='learned'), TOKENS, **WHAT)


def test_a_recorded_policy_needs_no_file_any_more(settings, file, tmp_path):
  prefix, record = settings(name='entropy', file=file), tmp_path / 'config.json'
  assert fitting.recorded(prefix, record) is None
  fitted = fitting.fitted(prefix, None, **WHAT)
  record.write_text(json.dumps({'prefix': fitted}))
  pathlib.Path(file).unlink()
  assert fitting.recorded(prefix, record) == json.loads(json.dumps(fitted)) | {
      'quantiles': prefix['quantiles']
  }
  assert fitting.recorded({**prefix, 'base': 0.25}, record) is None


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'must be JSON'),
        ('{}', 'policy must be given'),
        ('[1]', 'must be an object'),
        ('{"policy": "fixed"}', "must be one of entropy, learned, got 'fixed'"),
        ('{"policy": "entropy"}', 'thresholds must be given'),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, message):
  path = tmp_path / 'a.json'
  path.write_text(text)
  with pytest.raises(ValueError, match=f'a.json.* {message}'):
    fitting.read(str(path))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'thresholds': [2.0, 1.0]}, r'thresholds must rise, got \[2.0, 1.0\]'),
        ({'thresholds': [float('nan')]}, r'thresholds\[0\] must be a number'),
        ({'thresholds': []}, 'thresholds must be a list of 1 to 100'),
        ({'tokens': -1}, 'tokens must be a whole number'),
        ({'colour': 1}, "must not have the key 'colour'"),
    ],
)
def test_a_file_of_what_cannot_be_is_refused(file, changes, message):
  path = pathlib.Path(file)
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))
  with pytest.raises(ValueError, match=f'policy.json: {message}'):
    fitting.read(file)


def test_a_recorded_policy_must_be_whole(settings):
  fitting.check('prefix', settings(name='fixed'))
  for name in policies.fitted_names():
    with pytest.raises(ValueError, match='^prefix.fitted must be an object'):
      fitting.check('prefix', settings(name=name))
    with pytest.raises(ValueError, match='^prefix.fitted.* must be given'):
      fitting.check('prefix', settings(name=name, fitted={}))


def test_a_missing_file_is_refused():
  with pytest.raises(FileNotFoundError, match="file must be a file, got 'no'"):
    fitting.read('no')


def test_examples_of_training_have_the_lengths_of_the_policy(settings):
  prefix = settings(name='entropy', signal='distinct_ratio', capacity=1.0)
  prefix = fitting.fitted(prefix, TOKENS, **WHAT)
  recipe = examples.Recipe(20, base.get_config().objective, prefix, 99, 99)
  rng = np.random.default_rng(0)
  actual = [
      examples.of_window(TOKENS[start : start + 21], recipe, rng)['prefix_len']
      for start in range(0, 980, 20)
  ]
  windows = TOKENS[:980].reshape(-1, 20)
  expected = policies.lengths(windows, prefix, 20, rng)
  np.testing.assert_array_equal(actual, expected)
  assert len(set(actual)) == 3
