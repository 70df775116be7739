import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jrt_jax.cost.weight import OUT
from jrt_jax.cost.weight import Weight
from jrt_jax.data.objectives import MASKED_TOKEN
from jrt_jax.data.objectives import NEXT_TOKEN
from jrt_jax.runtime import sharding
from jrt_jax.training import optimizer
from jrt_jax.training import label_sums
from jrt_jax.training import train_state

B, L, E, VOCAB, CAPACITY, MLM_WEIGHT = 16, 8, 4, 10, 4, 0.25


class Lookup(NamedTuple):
  """A model that knows the token and the length of the prefix only."""

  params: dict
  vocab_size: int = VOCAB

  def hidden(self, tokens, *, prefix_len, prefix_capacity, **documents):
    assert not any(x is not None for x in documents.values())
    x = self.params['embedding.embedding'][tokens] @ self.params['kernel']
    return x * (1 + prefix_len[:, None, None] / prefix_capacity)

  def nll(self, batch):
    """The losses of all positions, as they are defined."""
    hidden = self.hidden(
        batch['tokens'],
        prefix_len=batch['prefix_len'],
        prefix_capacity=CAPACITY,
    )
    logp = jax.nn.log_softmax(hidden @ self.params['embedding.embedding'].T)
    targets = batch['targets'][..., None]
    return -jnp.take_along_axis(logp, targets, axis=-1)[..., 0]


WEIGHTS = {
    'embedding.embedding': Weight((VOCAB, E), OUT),
    'kernel': Weight((E, E)),
}


def make_params():
  rng = np.random.default_rng(0)
  return {
      'embedding.embedding': jnp.float32(rng.normal(size=(VOCAB, E))),
      'kernel': jnp.float32(rng.normal(size=(E, E))),
  }


def make_batch(rows_with_labels=B, seed=0):
  """A batch of three kinds of labels; its last rows may have none."""
  rng = np.random.default_rng(seed)
  kinds = [0, NEXT_TOKEN, MASKED_TOKEN]
  supervision = rng.choice(kinds, size=(B, L)).astype(np.int8)
  supervision[rows_with_labels:] = 0
  tokens, targets = rng.integers(VOCAB, size=(2, B, L)).astype(np.int32)
  return {
      'tokens': tokens,
      'targets': targets,
      'supervision': supervision,
      'prefix_len': rng.integers(CAPACITY + 1, size=B).astype(np.int32),
  }


def make_steps(accumulation=1, z_loss=0.0):
  return train_state.Steps(
      Lookup,
      optimizer.skip_bad_steps(optax.sgd(0.1)),
      prefix_capacity=CAPACITY,
      mlm_weight=MLM_WEIGHT,
      accumulation=accumulation,
      z_loss=z_loss,
  )


@functools.cache
def compiled(accumulation):
  return jax.jit(make_steps(accumulation=accumulation).train)


def train(batch, params=None, accumulation=1):
  params = make_params() if params is None else params
  state = train_state.init(params, make_steps().optimizer)
  return compiled(accumulation)(state, batch)


def assert_close(actual, expected, tolerance=1e-6):
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(
          a, b, rtol=tolerance, atol=tolerance
      ),
      actual,
      expected,
  )


@pytest.mark.parametrize('rows_with_labels', [B, 3])
def test_metrics_are_means_over_the_labels_of_the_batch(rows_with_labels):
  batch = make_batch(rows_with_labels)
  nll = Lookup(make_params()).nll(batch)
  is_next, is_masked = (
      batch['supervision'] == kind for kind in (NEXT_TOKEN, MASKED_TOKEN)
  )
  metrics = train(batch)[1]
  next_token, masked_token = nll[is_next].mean(), nll[is_masked].mean()
  assert_close(metrics['next_token_loss'], next_token, 1e-5)
  assert_close(metrics['masked_token_loss'], masked_token, 1e-5)
  assert_close(metrics['loss'], next_token + MLM_WEIGHT * masked_token, 1e-5)
  assert metrics['loss_tokens'] == is_next.sum() + is_masked.sum()


def test_a_step_follows_the_gradient_of_the_loss_of_the_whole_batch():
  batch, params = make_batch(3), make_params()

  @jax.jit
  @jax.grad
  def gradient(params):
    nll, loss = Lookup(params).nll(batch), 0
    for kind, weight in ((NEXT_TOKEN, 1), (MASKED_TOKEN, MLM_WEIGHT)):
      loss += weight * nll[batch['supervision'] == kind].mean()
    return loss

  grads = gradient(params)
  state, metrics = train(batch)
  expected = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
  assert_close(state.params, expected)
  assert_close(metrics['grad_norm'], optax.tree.norm(grads), 1e-5)
  assert state.step == metrics['accepted'] == 1


# Labels of the first two rows are in two of the microbatches, at most.
@pytest.mark.parametrize('rows_with_labels', [B, 2, 1])
@pytest.mark.parametrize('accumulation', [2, 4])
def test_accumulation_changes_nothing(accumulation, rows_with_labels):
  batch = make_batch(rows_with_labels)
  expected = train(batch)
  actual = train(batch, accumulation=accumulation)
  assert_close(actual, expected)


@pytest.mark.parametrize('accumulation', [1, 4])
def test_the_loss_of_log_z_is_a_part_of_the_loss_and_a_metric(accumulation):
  batch, params = make_batch(), make_params()
  hidden = Lookup(params).hidden(
      batch['tokens'], prefix_len=batch['prefix_len'], prefix_capacity=CAPACITY
  )
  log_z = jax.nn.logsumexp(hidden @ params['embedding.embedding'].T, axis=-1)
  expected = 0
  for kind, weight in ((NEXT_TOKEN, 1), (MASKED_TOKEN, MLM_WEIGHT)):
    expected += 0.1 * weight * (log_z[batch['supervision'] == kind] ** 2).mean()
  steps = make_steps(accumulation, z_loss=0.1)
  state = train_state.init(params, steps.optimizer)
  metrics, without = jax.jit(steps.train)(state, batch)[1], train(batch)[1]
  assert_close(metrics['z_loss'], expected, 1e-5)
  assert_close(metrics['loss'], without['loss'] + expected, 1e-5)
  assert_close(metrics['next_token_loss'], without['next_token_loss'])
  assert 'z_loss' not in without


def test_accuracies_count_labels_that_are_the_likeliest():
  batch = make_batch()
  first = (batch['supervision'] == NEXT_TOKEN).argmax()
  batch['supervision'] = np.zeros((B, L), np.int8)
  batch['supervision'].flat[[first, first + 1]] = NEXT_TOKEN
  params = make_params()
  hidden = Lookup(params).hidden(
      batch['tokens'], prefix_len=batch['prefix_len'], prefix_capacity=CAPACITY
  )
  logits = hidden @ params['embedding.embedding'].T
  batch['targets'] = np.array(logits.argmax(-1), np.int32)
  assert train(batch)[1]['next_token_accuracy'] == 1
  batch['targets'].flat[first] = logits.argmin(-1).flatten()[first]
  metrics = train(batch)[1]
  assert metrics['next_token_accuracy'] == 0.5
  assert metrics['masked_token_accuracy'] == 0  # there are none


def test_a_batch_without_labels_is_a_step_of_zeros():
  params = make_params()
  state, metrics = train(make_batch(0), params)
  assert_close(state.params, params, 0)
  assert metrics['loss'] == metrics['grad_norm'] == 0
  assert metrics['loss_tokens'] == metrics['next_token_loss'] == 0


def test_a_bad_step_changes_the_counters_only():
  params = make_params()
  params['kernel'] = params['kernel'].at[0, 0].set(jnp.nan)
  state, metrics = train(make_batch(), params)
  np.testing.assert_array_equal(state.params['kernel'], params['kernel'])
  assert state.step == 1
  assert metrics['accepted'] == 0
  assert metrics['skipped'] == metrics['skipped_in_a_row'] == 1


def test_sums_of_evaluation_add_up_over_batches():
  params, batches = make_params(), [make_batch(5, 1), make_batch(B, 2)]
  evaluate = jax.jit(make_steps().evaluate)
  sums = [evaluate(params, batch) for batch in batches]
  means = label_sums.means(jax.tree.map(lambda *x: sum(x), *sums))

  model = Lookup(params)
  nll = np.concatenate([model.nll(batch) for batch in batches])
  supervision = np.concatenate([batch['supervision'] for batch in batches])
  for name, kind in label_sums.LOSSES.items():
    is_kind = supervision == kind
    assert_close(means[f'{name}_loss'], nll[is_kind].mean(), 1e-5)
    assert sum(s[f'{name}_count'] for s in sums) == is_kind.sum()


def test_labels_that_can_be_recalled_are_summed_up_apart():
  params, batch = make_params(), make_batch()
  is_next = batch['supervision'] == NEXT_TOKEN
  recallable = is_next & (np.random.default_rng(1).random((B, L)) < 0.5)
  evaluate = jax.jit(make_steps().evaluate)
  sums = evaluate(params, batch)
  with_recall = evaluate(params, {**batch, 'recallable': recallable})
  assert_close({name: with_recall[name] for name in sums}, sums)
  mean = label_sums.means(with_recall)['recall_loss']
  assert_close(mean, Lookup(params).nll(batch)[recallable].mean(), 1e-5)
  assert with_recall['recall_count'] == recallable.sum()
  assert with_recall['recall_correct'] <= sums['next_token_correct']


def train_on(devices, accumulation):
  """Returns the results of a step on so many devices."""
  mesh = sharding.make_mesh({'data': devices, 'fsdp': 1, 'tensor': 1})
  steps = make_steps(accumulation)
  with jax.set_mesh(mesh):
    state = train_state.init(make_params(), steps.optimizer)
    state = jax.device_put(
        state, sharding.params_sharding(mesh, state, WEIGHTS)
    )
    batch = sharding.put_batch(make_batch(5), mesh)
    return jax.device_get(jax.jit(steps.train)(state, batch))


@pytest.mark.parametrize(
    'accumulation', [pytest.param(1, marks=pytest.mark.slow), 2]
)
def test_eight_devices_take_the_step_of_one(accumulation):
  assert_close(train_on(8, accumulation), train_on(1, accumulation))
