import json

import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax import models
from jrt_jax.data import tokenizers
from jrt_jax.evaluation import perplexity
from jrt_jax.evaluation import scoring
from jrt_jax.evaluation import window_losses

L, END = 16, 256
PREFIX = {'name': 'fixed', 'capacity': 0.5}


@pytest.fixture(scope='module')
def make_model(tiny_config):
  """A function that returns an untrained model of bytes."""

  def make(mixer, prefix, objective, packing='concat'):
    config = tiny_config(mixers=(mixer,), vocab_size=258, mask_id=257)
    run = {
        'model': config,
        'prefix': prefix,
        'objective': objective,
        'sequence_length': L,
        'data': {'tokenizer': 'bytes', 'packing': packing},
    }
    params = models.split(models.build(config))[1]
    return generation.Model(run, params, tokenizers.Bytes())

  return make


@pytest.fixture(scope='module')
def jrt(make_model):
  objective = {
      'name': 'jrt',
      'mask_rate': 0.5,
      'boundary': 'predict',
      'token_zero': 'predict',
  }
  return make_model('pla', PREFIX, objective)


@pytest.fixture(scope='module')
def causal(make_model):
  return make_model('la', PREFIX | {'name': 'none'}, {'name': 'next_token'})


@pytest.fixture(scope='module')
def windows():
  """Whose last tokens differ, and of which some have pairs again."""
  return np.random.default_rng(0).integers(97, 103, size=(5, L + 1))


@pytest.fixture(scope='module')
def result(jrt, causal, windows):
  counts = np.random.default_rng(1).integers(99, size=(5, L))
  both = {'jrt': jrt, 'causal': causal}
  *_, last = perplexity.measure(both, windows, counts, rare=50)
  return last


def by_family(result, family):
  return [x for x in result['slices'] if x['family'] == family]


def test_the_last_half_is_scored_as_what_follows_a_prompt(jrt, windows):
  found = window_losses.losses(jrt, windows)[window_losses.LAST_HALF]
  h = L // 2 + 1  # its first label is the second token after the prefix
  scores = scoring.score(jrt, [(x[:h], x[h:]) for x in windows])
  expected = [-x.log_likelihood for x in scores]
  np.testing.assert_allclose(found.nll.sum(axis=1), expected, rtol=1e-5)
  np.testing.assert_array_equal(found.where, [np.arange(L) >= L // 2] * 5)


def test_no_label_is_seen_before_it_is_scored(jrt, causal, windows):
  for model in (jrt, causal):
    for t in (L // 2 + 1, L - 1):
      changed = windows.copy()
      changed[:, t:] = changed[:, t:][:, ::-1] + 1
      before, after = (
          window_losses.losses(model, x)[window_losses.LAST_HALF].nll
          for x in (windows, changed)
      )
      np.testing.assert_array_equal(before[:, : t - 1], after[:, : t - 1])
      assert (before[:, t - 1 :] != after[:, t - 1 :]).any()


def test_a_prefix_changes_what_follows_and_masks_are_scored_in_it(jrt, windows):
  found = window_losses.losses(jrt, windows)
  after, without = (
      found[name]
      for name in (window_losses.LAST_HALF, window_losses.CAUSAL_LAST_HALF)
  )
  np.testing.assert_array_equal(after.where, without.where)
  assert (after.nll != without.nll)[after.where].all()
  masked = found[window_losses.MASKED]
  assert not masked.where[:, L // 2 - 1 :].any() and masked.where.any()
  assert (masked.nll[masked.where] > 0).all()


def test_losses_do_not_depend_on_the_batch(jrt, windows):
  expected = window_losses.losses(jrt, windows)
  found = window_losses.losses(jrt, windows[::-1], batch_size=2)
  for name in (window_losses.LAST_HALF, window_losses.CAUSAL_FIRST_HALF):
    np.testing.assert_allclose(
        found[name].nll[::-1], expected[name].nll, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('family', ['recall', 'count'])
def test_slices_add_up_to_the_last_half(result, family):
  whole = result['slices'][0]
  assert (
      whole['kind'] == window_losses.LAST_HALF and whole['tokens'] == 5 * L // 2
  )
  rows = by_family(result, family)
  assert len(rows) > 1 and sum(x['tokens'] for x in rows) == whole['tokens']
  for model in ('jrt', 'causal'):
    total = sum(x['tokens'] * x['loss'][model]['estimate'] for x in rows)
    mean = total / whole['tokens']
    assert mean == pytest.approx(whole['loss'][model]['estimate'])


def test_models_are_compared_on_the_same_windows(result, jrt, causal, windows):
  for row in result['slices']:
    if len(row['loss']) == 1:
      assert row['kind'] in (
          window_losses.CAUSAL_LAST_HALF,
          window_losses.MASKED,
      )
      assert not row['differences']
      continue
    (difference,) = row['differences']
    assert (difference['first'], difference['second']) == ('jrt', 'causal')
    a, b = (row['loss'][x]['estimate'] for x in ('jrt', 'causal'))
    assert difference['estimate'] == pytest.approx(a - b)
  a, b = (
      window_losses.losses(x, windows)[window_losses.LAST_HALF].nll.sum(axis=1)
      for x in (jrt, causal)
  )
  (whole,) = result['slices'][0]['differences']
  assert whole['n'] == 5
  assert whole['low'] < np.mean(a - b) / (L // 2) < whole['high']


def test_what_is_known_after_each_model_is_right(result, jrt, causal, windows):
  counts = np.random.default_rng(1).integers(99, size=(5, L))
  measured = perplexity.measure(
      {'jrt': jrt, 'causal': causal}, windows, counts, rare=50
  )
  first = next(measured)
  assert not any(row['differences'] for row in first['slices'])
  whole = {str(x['kind']): x['loss']['jrt'] for x in by_family(result, 'part')}
  for row in by_family(first, 'part'):
    assert row['loss'] == {'jrt': whole[row['kind']]}


def test_how_many_repeated_labels_are_rare_is_told(result):
  hits = by_family(result, 'recall')[0]['tokens']
  again = [x for x in by_family(result, 'count') if x['kind'][:8] == 'repeated']
  share = hits / sum(x['tokens'] for x in again)
  assert 0 < share < 1 and result['rare_share'] == pytest.approx(share)


def test_rare_is_the_share_of_the_paper():
  assert perplexity.rare(10**7 * 2048) == 1000
  assert perplexity.rare(10**9) == 49
  assert perplexity.rare(6 * 10**6) == perplexity.rare(0) == 1


def test_the_result_is_json_and_a_table(result):
  assert json.loads(json.dumps(result, allow_nan=False)) == result
  text = perplexity.table(result)
  assert max(map(len, text.splitlines())) <= 80
  titles = []
  for block in text.split('\n\n'):  # columns that do not fit have their own
    title, *lines = block.splitlines()
    titles += title.split()
    names = [line for line in lines if not line.startswith(' ')]
    assert len(names) == len(result['slices'])
    assert names[0].startswith('last half ')
  assert titles == ['tokens', 'jrt', 'causal', 'jrt', '−', 'causal']


def test_documents_apart_do_not_see_each_other(make_model, windows):
  model = make_model('pla', PREFIX, {'name': 'prefix_lm'}, packing='documents')
  windows = windows.copy()
  windows[:, 10] = END
  changed = windows.copy()
  changed[:, :10] += 1
  before, after = (
      window_losses.losses(model, x, window_losses.documents({'': model}, x))
      for x in (windows, changed)
  )
  before, after = (x[window_losses.LAST_HALF] for x in (before, after))
  assert before.where[0].tolist() == [L // 2 <= t != 10 for t in range(L)]
  np.testing.assert_allclose(before.nll[:, 11:], after.nll[:, 11:], rtol=1e-5)
  assert (before.nll[:, 8:10] != after.nll[:, 8:10]).all()


def test_windows_are_spread_over_the_text():
  windows = window_losses.cut(np.arange(100), 9, 3)
  np.testing.assert_array_equal(windows[:, 0], [0, 40, 90])
  assert windows.shape == (3, 10)


@pytest.mark.parametrize(
    ('length', 'message'),
    [
        (3, 'windows must have at least 4 tokens, got 3'),
        (60, 'at least two windows of 61 tokens, got 100 tokens'),
        (999, 'at least two windows of 1000 tokens, got 100 tokens'),
    ],
)
def test_a_text_that_is_too_short_is_refused(length, message):
  with pytest.raises(ValueError, match=message):
    window_losses.cut(np.arange(100), length, 3)
