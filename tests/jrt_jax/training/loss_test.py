import functools
import re

import jax
from jax.sharding import AxisType
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.training import loss

B, L, E, VOCAB, ROWS, BLOCK = 8, 11, 6, 10, 16, 4


def make_inputs(weights=None, dtype=jnp.float32):
  """Returns hidden, table, targets and weights; half of the weights are 0."""
  rng = np.random.default_rng(0)
  hidden = jnp.asarray(rng.normal(size=(B, L, E)), dtype)
  table = jnp.asarray(rng.normal(size=(ROWS, E)), jnp.float32)
  targets = jnp.asarray(rng.integers(VOCAB, size=(B, L)), jnp.int32)
  drawn = rng.uniform(0.1, 2, (B, L)) * (rng.random((B, L)) < 0.5)
  weights = drawn if weights is None else weights
  return hidden, table, targets, jnp.asarray(weights, jnp.float32)


def plain(hidden, table, targets, weights, z_loss=0.0):
  """What `cross_entropy` stands for, with all logits at once."""
  logits = jnp.einsum('ble,ve->blv', hidden, table[:VOCAB])
  logp = jax.nn.log_softmax(logits.astype(jnp.float32))
  nll = -jnp.take_along_axis(logp, targets[..., None], axis=-1)[..., 0]
  correct = jnp.argmax(logits, axis=-1) == targets
  log_z = jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)
  has_label = weights != 0
  loss = jnp.sum((nll + z_loss * log_z**2) * weights)
  return loss, (nll * has_label, correct & has_label, log_z * has_label)


def blocked(hidden, table, targets, weights, block=BLOCK, z_loss=0.0):
  return loss.cross_entropy(
      hidden,
      table,
      targets,
      weights,
      vocab_size=VOCAB,
      z_loss=z_loss,
      block=block,
  )


# Named, so that each is compiled once.
PLAIN = {z_loss: functools.partial(plain, z_loss=z_loss) for z_loss in (0, 0.3)}
BLOCKED = {
    z_loss: functools.partial(blocked, z_loss=z_loss) for z_loss in PLAIN
}


@functools.partial(jax.jit, static_argnums=0)
def run(compute, *inputs):
  """Returns the loss, the losses of tokens, and gradients of 3 x the loss."""

  def scaled(hidden, table):
    value, losses = compute(hidden, table, *inputs[2:])
    return 3 * value, (value, losses)

  gradients, (value, losses) = jax.grad(scaled, (0, 1), has_aux=True)(
      *inputs[:2]
  )
  return value, tuple(losses), gradients


def assert_close(actual, expected, rtol=1e-5, atol=1e-5):
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol),
      actual,
      expected,
  )


# Rows with different numbers of labels, among them none and all.
STAIRS = np.arange(L) < np.array([[0], [1], [4], [5], [8], [9], [L], [2]])
WEIGHTS = {
    'drawn': None,
    'stairs': STAIRS[:, ::-1] / 7,
    'one label': np.eye(B, L, 3)[::-1],
    'all labels': np.ones((B, L)),
    'no label': np.zeros((B, L)),
}


@pytest.mark.parametrize('weights', WEIGHTS)
def test_loss_and_gradients_equal_those_of_all_logits(weights):
  inputs = make_inputs(WEIGHTS[weights])
  assert_close(run(blocked, *inputs), run(plain, *inputs))


@pytest.mark.parametrize('weights', WEIGHTS)
def test_loss_and_gradients_of_log_z_are_those_of_its_formula(weights):
  inputs = make_inputs(WEIGHTS[weights])
  actual, expected, without = (
      run(compute, *inputs) for compute in (BLOCKED[0.3], PLAIN[0.3], blocked)
  )
  assert_close(actual, expected)
  if weights != 'no label':
    assert actual[0] > 1.1 * without[0]


@pytest.mark.parametrize('block', [1, 5, L, 64])
def test_the_block_changes_nothing(block):
  inputs = make_inputs()
  compute = functools.partial(blocked, block=block)
  assert_close(run(compute, *inputs), run(plain, *inputs))


def test_the_value_without_gradients_is_the_same():
  inputs = make_inputs()
  value, losses = jax.jit(blocked)(*inputs)
  assert_close((value, tuple(losses)), run(plain, *inputs)[:2])


def test_without_labels_everything_is_zero():
  value, losses, gradients = run(blocked, *make_inputs(np.zeros((B, L))))
  for x in (value, *losses, *gradients):
    assert not x.any()


def test_hidden_states_without_a_label_are_not_read():
  hidden, table, targets, weights = make_inputs()
  broken = jnp.where(weights[..., None] != 0, hidden, jnp.nan)
  assert_close(
      run(blocked, broken, table, targets, weights),
      run(blocked, hidden, table, targets, weights),
  )


def test_rows_beyond_the_vocabulary_matter_nothing():
  hidden, table, targets, weights = make_inputs()
  huge = table.at[VOCAB:].set(1e4)
  value, losses, (dhidden, dtable) = run(
      blocked, hidden, huge, targets, weights
  )
  assert not dtable[VOCAB:].any()
  expected = run(blocked, hidden, table, targets, weights)
  assert_close((value, losses, (dhidden, dtable)), expected)


def test_gradients_of_bfloat16_states_are_close_to_the_exact_ones():
  inputs = make_inputs(dtype=jnp.bfloat16)
  value, losses, gradients = run(blocked, *inputs)
  exact = inputs[0].astype(jnp.float32), *inputs[1:]
  expected, _, expected_gradients = run(plain, *exact)
  assert [g.dtype for g in gradients] == [jnp.bfloat16, jnp.float32]
  assert value.dtype == losses[0].dtype == jnp.float32
  assert_close(value, expected, rtol=1e-2)
  for actual, g in zip(gradients, expected_gradients):
    error = np.linalg.norm(actual.astype(jnp.float32) - g) / np.linalg.norm(g)
    assert error < 0.02


def test_without_gradients_logits_are_not_rounded():
  hidden, table, targets, weights = make_inputs(dtype=jnp.bfloat16)
  # Two ids whose logits differ by less than a step of bfloat16.
  table = table.at[0].set(4.0).at[1].set(4.0).at[1, 0].set(4.03125)
  hidden = jnp.full_like(hidden, 4.0)
  value, losses = blocked(hidden, table, jnp.ones_like(targets), weights)
  assert losses.correct.any() and (losses.correct == (weights != 0)).all()
  exact = hidden.astype(jnp.float32), table, jnp.ones_like(targets), weights
  assert_close(value, plain(*exact)[0])


@pytest.mark.parametrize(
    'shape, z_loss',
    [
        ((8, 1, 1), 0.3),
        ((4, 2, 1), 0.3),
        ((1, 1, 8), 0.3),
        ((2, 2, 2), 0.3),
        ((2, 2, 2), 0),
    ],
)
def test_rows_and_ids_spread_over_devices_give_the_same(shape, z_loss):
  inputs = make_inputs()
  expected = run(PLAIN[z_loss], *inputs)
  compute = BLOCKED[z_loss]
  axes = ('data', 'fsdp', 'tensor')
  mesh = jax.make_mesh(shape, axes, axis_types=(AxisType.Auto,) * 3)
  with jax.set_mesh(mesh):
    actual = run(compute, *inputs)
    value = jax.jit(compute)(*inputs)[0]
  assert_close(actual, expected)
  assert_close(value, expected[0])


@pytest.mark.parametrize('most', [0, 1, BLOCK, BLOCK + 1])
def test_no_block_is_visited_after_the_row_with_most_labels(monkeypatch, most):
  visits, judge = [], loss._judge

  def counting(*args):
    visits.append(args)
    return judge(*args)

  monkeypatch.setattr(loss, '_judge', counting)
  weights = (np.arange(L) >= L - most) * np.eye(B)[:, 3:4]  # of one row
  with jax.disable_jit():
    blocked(*make_inputs(weights))
  assert len(visits) == -(-most // BLOCK)


def largest_float32_array(compute):
  """How many elements the largest array of a compiled gradient has."""
  hlo = run.lower(compute, *make_inputs()).compile().as_text()
  shapes = re.findall(r'\bf32\[([\d,]+)\]', hlo)
  return max(np.prod([int(n) for n in shape.split(',')]) for shape in shapes)


def test_logits_exist_for_a_block_of_positions_only():
  assert largest_float32_array(plain) >= B * L * VOCAB
  assert largest_float32_array(blocked) == max(B * BLOCK * ROWS, B * L * E)
