import numpy as np
import pytest

from jrt_jax.data import examples
from jrt_jax.data import packings
from jrt_jax.data import prefix_lengths
from jrt_jax.data import streams
from jrt_jax.data import windows

L = 32
# Documents of many lengths, each of which ends with a 0.
LENGTHS = np.random.default_rng(0).integers(2, 40, size=400)
TOKENS = streams.in_memory(np.concatenate([[*range(1, n), 0] for n in LENGTHS]))


def recipe(name, packing='concat', repeat=0.0):
  return examples.Recipe(
      L,
      objective={'name': 'prefix_lm', 'boundary': 'predict'},
      prefix={'name': name, 'capacity': 0.5},
      num_ids=40,
      mask_id=40,
      eos_id=0,
      packing=packing,
      repeat=repeat,
  )


@pytest.mark.parametrize('repeat', [0.0, 0.5])
@pytest.mark.parametrize('packing', packings.PACKINGS)
@pytest.mark.parametrize('name', ['none', 'fixed', 'uniform'])
def test_the_mean_prefix_is_that_of_the_examples(packing, name, repeat):
  how = recipe(name, packing, repeat)
  rng = np.random.default_rng(0)
  some = windows.Windows(TOKENS, L, num_ids=40)
  drawn = [examples.of_window(some[i], how, rng) for i in range(len(some))]
  lengths = [
      x['prefix_mask'].sum() if 'prefix_mask' in x else x['prefix_len']
      for x in drawn
  ]
  mean = prefix_lengths.mean(TOKENS, how)
  assert mean == pytest.approx(np.mean(lengths), abs=0.8)
  if packing == 'documents' and name == 'fixed':
    assert mean < 12  # of a capacity of 16
