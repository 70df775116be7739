import json

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from jrt_jax.prefix import heuristic
from jrt_jax.prefix import policies
from jrt_jax.prefix.learned import policy
from jrt_jax.prefix.learned import simulation
from jrt_jax.prefix.learned import trials

L = 40
FRACTIONS = np.array([0.0, 0.25, 0.5, 1.0])
rows = st.lists(st.integers(0, 30), max_size=L).map(np.array)


@pytest.fixture(scope='session')
def make(settings):
  """A function that returns the fitted settings of a policy."""

  def make(name, **changes):
    prefix = settings(name=name, **changes)
    if name == 'entropy':
      prefix['fitted'] = {'thresholds': [1.0, 2.0]}
    elif name == 'learned':
      S = len(policy.features(np.arange(3)))
      rng = np.random.default_rng(0)
      weights = rng.standard_normal((S + 1, len(FRACTIONS)))
      choice = policy.Choice(FRACTIONS, np.ones(S), np.ones(S), weights)
      prefix['fitted'] = {'mean_fraction': 0.4, **policy.to_json(choice)}
    return prefix

  return make


def draw(prefix, tokens, seed=0):
  rng = np.random.default_rng(seed)
  return int(policies.lengths([tokens], prefix, L, rng)[0])


@pytest.mark.parametrize(
    ('name', 'expected'), [('none', 0), ('full', 40), ('fixed', 16)]
)
def test_policies_without_a_choice_give_one_length(make, name, expected):
  assert draw(make(name, capacity=0.4), np.arange(L)) == expected


@pytest.mark.parametrize('name', policies.PREFIX_POLICIES)
@given(tokens=rows, capacity=st.floats(0, 1), seed=st.integers(0, 9))
def test_a_prefix_fits_its_example_and_the_model(
    make, name, tokens, capacity, seed
):
  prefix = make(name, capacity=capacity)
  limit = min(len(tokens), policies.prefix_capacity(prefix, L))
  assert 0 <= draw(prefix, tokens, seed) <= limit


@pytest.mark.parametrize('name', policies.PREFIX_POLICIES)
@given(batch=st.lists(rows, min_size=1, max_size=4))
def test_a_batch_gives_the_lengths_of_its_rows(make, name, batch):
  prefix, one, all_ = make(name), *map(np.random.default_rng, (0, 0))
  expected = [policies.lengths([row], prefix, L, one)[0] for row in batch]
  actual = policies.lengths(batch, prefix, L, all_)
  assert actual.dtype == np.int32
  np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize('name', policies.fitted_names())
@given(tokens=st.lists(st.integers(0, 30), max_size=3 * L).map(np.array))
def test_a_prompt_has_the_prefix_of_a_window_of_its_tokens(make, name, tokens):
  prefix = make(name, capacity=0.5)
  if name == 'learned':
    prefix['fitted'] |= {'fractions': [0.0, 0.1, 0.2, 0.3]}
  actual = policies.of_prompt(tokens, prefix, L)
  longest = policies.longest_prefix(prefix, L)
  assert actual == min(draw(prefix, tokens), longest)
  if name == 'learned':
    assert longest == 12  # though a long prompt might have more


def test_uniform_lengths_are_equally_frequent_with_both_ends(make):
  rng = np.random.default_rng(0)
  prefix = make('uniform', capacity=0.1)
  lengths = policies.lengths([np.arange(L)] * 5000, prefix, L, rng)
  counts = np.bincount(lengths)
  assert len(counts) == 5
  np.testing.assert_allclose(counts / 5000, 0.2, atol=0.03)


def test_entropy_gives_complex_text_a_longer_prefix(make):
  prefix = make('entropy', signal='unigram_entropy', capacity=1.0)
  texts = [np.arange(L) % k for k in (1, 3, 30)]
  assert [draw(prefix, text) for text in texts] == [18, 20, 22]
  prefix['reduce'] = False
  assert [draw(prefix, text) for text in texts] == [20, 20, 22]


@given(tokens=rows, limit=st.floats(0, 3))
def test_a_lower_threshold_never_shortens_a_prefix(make, tokens, limit):
  prefix = make('entropy')
  lengths = []
  for limits in ([limit, limit + 1], [limit / 2, limit / 2 + 1]):
    prefix['fitted'] = {'thresholds': limits}
    lengths.append(draw(prefix, tokens))
  assert lengths[0] <= lengths[1]


def test_learned_takes_the_fraction_with_the_largest_logit(make):
  prefix = make('learned', capacity=0.6)
  fitted, lengths = prefix['fitted'], []
  for i in range(len(FRACTIONS)):
    weights = np.zeros_like(fitted['weights'])
    weights[-1, i] = 1  # whatever the signals
    prefix['fitted'] = {**fitted, 'weights': weights.tolist()}
    lengths.append(draw(prefix, np.arange(30)))
  assert lengths == [0, 8, 15, 24]  # of 30; the last is the capacity


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('none', 0),
        ('full', 15),
        ('fixed', 8),
        ('uniform', 8),
        ('entropy', 8),
        ('learned', 8),
    ],
)
def test_the_capacity_is_a_fraction_of_the_sequence(settings, name, expected):
  prefix = settings(name=name, capacity=0.5)
  assert policies.prefix_capacity(prefix, 15) == expected


@pytest.mark.parametrize('percent', range(101))
def test_a_fraction_is_rounded_to_the_nearest_length(settings, percent):
  prefix = settings(name='fixed', capacity=percent / 100)
  assert policies.prefix_capacity(prefix, 100) == percent


@given(tokens=rows, capacity=st.floats(0, 1), length=st.integers(1, 2 * L))
def test_the_prefix_of_a_document_is_that_of_a_sequence_of_its_length(
    settings, tokens, capacity, length
):
  prefix = settings(name='fixed', capacity=capacity)
  rng = np.random.default_rng(0)
  M = policies.of_document(tokens, prefix, rng=rng)
  assert M == policies.prefix_capacity(prefix, len(tokens))
  whole = policies.prefix_capacity(prefix, max(length, len(tokens)))
  assert M <= whole  # what the model has room for


@pytest.mark.parametrize(
    'name', ['none', 'full', 'fixed', 'uniform', 'entropy']
)
def test_the_mean_prefix_is_that_of_many_examples(make, name):
  prefix, rng = make(name, capacity=1.0), np.random.default_rng(0)
  windows = rng.integers(rng.integers(1, 30, size=(999, 1)), size=(999, L))
  if name == 'entropy':
    prefix['increment'] = 0.5
    limits = heuristic.thresholds(windows, prefix)
    prefix['fitted'] = {'thresholds': limits}
  mean = policies.lengths(windows, prefix, L, rng).mean()
  assert policies.mean_prefix(prefix, L) == pytest.approx(mean, abs=0.8)


@pytest.mark.parametrize(
    'name', ['none', 'full', 'fixed', 'uniform', 'entropy']
)
@given(capacity=st.floats(0, 1), reduce=st.booleans())
def test_the_longest_prefix_occurs_and_no_longer_one(
    make, name, capacity, reduce
):
  changes = {'signal': 'unigram_entropy', 'reduce': reduce}
  prefix = make(name, capacity=capacity, **changes)
  windows = [np.arange(L) % k for k in (1, 3, 30) * 50]
  lengths = policies.lengths(windows, prefix, L, np.random.default_rng(0))
  assert lengths.max() == policies.longest_prefix(prefix, L)


def test_the_longest_prefix_of_a_learned_policy_is_its_largest_fraction(make):
  prefix = make('learned', capacity=0.5)
  assert policies.longest_prefix(prefix, L) == 20  # of 1.0, the capacity
  prefix['fitted']['fractions'] = [0.0, 0.125, 0.25]
  assert policies.longest_prefix(prefix, L) == 10


def test_the_mean_prefix_of_a_learned_policy_was_measured(make):
  assert policies.mean_prefix(make('learned'), L) == 16


@pytest.mark.parametrize('name', policies.fitted_names())
def test_a_policy_that_was_not_fitted_is_refused(settings, name):
  with pytest.raises(ValueError, match=f"got '{name}', which must be fitted"):
    policies.make(settings(name=name), 10)


@pytest.mark.slow
@pytest.mark.parametrize('name', policies.PREFIX_POLICIES)
def test_a_policy_is_a_switch_of_training(name, start, command, tmp_path):
  keys = {'prefix__name': name, 'steps': 20}
  if name == 'learned':
    table = simulation.table(200, np.random.default_rng(0), length=32)
    trials.save(tmp_path / 'trials.npz', table, 'bytes')
    keys['prefix__file'] = tmp_path / 'policy.json'
    command(
        'learn',
        f'--trials={tmp_path}/trials.npz',
        f'--out={tmp_path}/policy.json',
    )
  # A policy that is fitted at each start must be the same again.
  for again in range(2 if name in policies.fitted_names() else 1):
    output, errors = start(tmp_path / 'run', **keys).communicate()
    assert 'held-out text' in output, errors
    assert ('resuming from step 20' in output) == again
  config = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert ('fitted' in config['prefix']) == (name in policies.fitted_names())
