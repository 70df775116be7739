"""Packed documents that each have a prefix train as separate rows do."""

import jax
import numpy as np
import optax
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.data import examples
from jrt_jax.training import optimizer
from jrt_jax.training import train_state

L, EOS, MASK = 24, 0, 19
LENGTHS = [[9, 5, 10], [1, 3, 15, 5]]  # of the documents of two rows
RECIPE = examples.Recipe(
    L,
    objective={
        'name': 'jrt',
        'mask_rate': 0.3,
        'boundary': 'predict',
        'token_zero': 'predict',
    },
    prefix={'name': 'uniform', 'capacity': 0.75},
    num_ids=MASK,
    mask_id=MASK,
    eos_id=EOS,
    packing='prefixed_documents',
)


@pytest.fixture(scope='module')
def packed():
  """A batch of two rows."""
  rng = np.random.default_rng(0)
  rows = []
  for lengths in LENGTHS:
    window = rng.integers(1, MASK, size=L + 1)
    window[np.cumsum(lengths)[:-1] - 1] = EOS
    rows.append(examples.of_window(window, RECIPE, rng))
  return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def separated(packed):
  """The same documents, each at the start of a row of its own."""
  names = 'tokens', 'targets', 'supervision'
  rows = []
  for b, lengths in enumerate(LENGTHS):
    ends = np.cumsum(lengths)
    for start, end in zip([0, *ends], ends):
      fill = 0, L - (end - start)
      row = {n: np.pad(packed[n][b, start:end], fill) for n in names}
      row['prefix_len'] = np.int32(packed['prefix_mask'][b, start:end].sum())
      rows.append(row)
  return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def test_losses_and_gradients_are_those_of_separate_rows(packed):
  config = base.get_config().model
  config.mixers = ('conv', 'pla', 'swa', 'pla')
  config.update(width=16, num_heads=2, mlp_width=16, window=5, dtype='float32')
  config.update(vocab_size=MASK + 1, mask_id=MASK, vocab_multiple=8)
  config.feature_map.feature_dim = 4
  merge, params = models.split(models.build(config.to_dict()))
  assert len({*packed['prefix_mask'].sum(axis=1)} - {0}) == 2
  steps = train_state.Steps(
      merge,
      optimizer.skip_bad_steps(optax.sgd(1.0)),
      prefix_capacity=L,
      mlm_weight=0.25,
  )
  state = train_state.init(params, steps.optimizer)
  train, evaluate = jax.jit(steps.train), jax.jit(steps.evaluate)

  def run(batch):
    state_after, metrics = train(state, batch)
    return state_after.params, metrics, evaluate(params, batch)

  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
      run(packed),
      run(separated(packed)),
  )
