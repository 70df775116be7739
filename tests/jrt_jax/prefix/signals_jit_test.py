import jax
import numpy as np
import pytest

from jrt_jax.prefix import signals
from jrt_jax.prefix import signals_jit

NAMES = ('unigram_entropy', 'conditional_entropy')


@pytest.fixture(scope='module')
def compiled():
  return {name: jax.jit(getattr(signals_jit, name)) for name in NAMES}


def padded(rows, length, left):
  """Rows of a batch, padded on one side with ids that stand in them too."""
  tokens = np.full((len(rows), length), 1, np.int32)
  mask = np.zeros(tokens.shape, bool)
  for i, row in enumerate(rows):
    place = slice(length - len(row), None) if left else slice(len(row))
    tokens[i, place], mask[i, place] = row, True
  return tokens, mask


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('left', [False, True])
def test_a_padded_batch_has_the_entropies_of_its_rows(compiled, name, left):
  rng = np.random.default_rng(0)
  rows = [rng.integers(high, size=n) for high, n in ((3, 20), (9, 17), (2, 1))]
  rows.append(np.array([], int))
  actual = compiled[name](*padded(rows, 20, left))
  expected = [signals.SIGNALS[name](row) for row in rows]
  np.testing.assert_allclose(actual, expected, atol=1e-5)
