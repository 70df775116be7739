import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from jrt_jax.prefix import signals

tokens_of = st.lists(st.integers(0, 9), max_size=40).map(np.array)


def entropy(*probabilities):
  return -sum(p * math.log2(p) for p in probabilities)


@pytest.mark.parametrize(
    ('tokens', 'unigram', 'conditional'),
    [
        ([7, 7, 7, 7], 0, 0),
        ([1, 2, 1, 2, 1], entropy(0.6, 0.4), 0),
        # Pairs 11, 12, 22, 21: after each token both are equally likely.
        ([1, 1, 2, 2, 1], entropy(0.6, 0.4), 1),
    ],
)
def test_entropies_of_windows_computed_by_hand(tokens, unigram, conditional):
  tokens = np.array(tokens)
  plain = signals.unigram_entropy(tokens, miller_madow=False)
  assert plain == pytest.approx(unigram)
  assert signals.conditional_entropy(tokens) == pytest.approx(conditional)


def test_the_correction_removes_most_of_the_bias_of_short_windows():
  rng = np.random.default_rng(0)
  windows = rng.integers(64, size=(200, 256))  # 6 bits
  plain, corrected = (
      np.mean([signals.unigram_entropy(w, miller_madow=on) for w in windows])
      for on in (False, True)
  )
  assert plain < 5.85
  assert corrected == pytest.approx(6, abs=0.02)


def test_only_the_conditional_entropy_puts_keys_and_values_above_prose():
  rng = np.random.default_rng(0)
  # Words of a common distribution, each followed by one of two of its own.
  prose = [int(rng.integers(200))]
  while len(prose) < 512:
    prose.append((7 * prose[-1] + int(rng.integers(2))) % 200)
  pairs = rng.integers(16, size=512)  # digits: few symbols in no order
  prose = np.array(prose)
  unigram, conditional = signals.unigram_entropy, signals.conditional_entropy
  assert unigram(pairs) < unigram(prose)
  assert conditional(pairs) > conditional(prose)


@pytest.mark.parametrize('name', signals.SIGNALS)
def test_text_without_repeats_is_more_complex_than_one_token(name):
  signal = signals.SIGNALS[name]
  varied = np.random.default_rng(0).permutation(1000).repeat(2)[:1000]
  assert signal(varied) > signal(np.zeros(1000, np.int64))


@pytest.mark.parametrize('name', signals.SIGNALS)
@given(tokens=tokens_of)
def test_signals_are_finite_and_not_negative(name, tokens):
  value = signals.SIGNALS[name](tokens)
  assert np.isfinite(value) and value > -1e-9


@pytest.mark.parametrize(
    'name', sorted(set(signals.SIGNALS) - {'compression_ratio'})
)
@given(tokens=tokens_of)
def test_counts_do_not_depend_on_which_tokens_they_are(name, tokens):
  signal, renamed = signals.SIGNALS[name], 50_000 - 3 * tokens
  assert signal(renamed) == pytest.approx(signal(tokens), abs=1e-9)


@pytest.mark.parametrize('name', signals.SIGNALS)
def test_the_dtype_of_tokens_changes_nothing(name):
  signal, tokens = signals.SIGNALS[name], np.arange(200) % 70
  assert signal(tokens.astype(np.uint8)) == signal(tokens.astype(np.int64))


def test_windows_cover_all_tokens_and_are_aggregated():
  def first(window):
    return float(window[0])

  def value(aggregate):
    return signals.windowed(first, np.arange(11), width=4, aggregate=aggregate)

  starts = [0, 2, 4, 6, 7]  # the last window ends with the tokens
  assert value('mean') == np.mean(starts)
  assert value('max') == 7
  assert value('p90') == pytest.approx(np.quantile(starts, 0.9))


@pytest.mark.parametrize('width', [0, 11, 99])
def test_a_window_as_long_as_the_text_is_the_text(width):
  def total(window):
    return float(window.sum())

  tokens = np.arange(11)
  whole = signals.windowed(total, tokens, width=width, aggregate='max')
  assert whole == 55
