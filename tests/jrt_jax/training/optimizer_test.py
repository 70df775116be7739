import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from jrt_jax import cost
from jrt_jax.cost.weight import kernel
from jrt_jax.cost.weight import Weight
from jrt_jax.training import optimizer

CONFIG = base.get_config().optimizer.to_dict()
NAN, INF = float('nan'), float('inf')


def make_params():
  key = jax.random.key(0)
  return {
      'embedding.embedding': jax.random.normal(key, (6, 4)),
      'layers.0.mixer.in_proj.bias': jnp.zeros(4),
      'layers.0.mlp.fc1.kernel': jax.random.normal(key, (4, 8)),
      'final_norm.scale': jnp.ones(4),
  }


WEIGHTS = {
    name: kernel(x.shape)
    if name.endswith('kernel')
    else Weight(x.shape, decays=False)
    for name, x in make_params().items()
}
both_optimizers = pytest.mark.parametrize('name', ['adamw', 'muon'])


def make_grads(seed, scale=1.0):
  return jax.tree.map(
      lambda x: scale * jax.random.normal(jax.random.key(seed), x.shape),
      make_params(),
  )


@functools.cache
def compiled(**overrides):
  """Returns an optimizer and a jitted step."""
  config = CONFIG | {'peak_lr': 0.1, 'warmup_steps': 2} | overrides
  tx = optimizer.build(config, 50, WEIGHTS)

  @jax.jit
  def step(carry, grads, value=0.0):
    params, opt_state = carry
    updates, opt_state = tx.update(grads, opt_state, params, value=value)
    return optax.apply_updates(params, updates), opt_state

  return tx, step


def make(**overrides):
  """Returns an initial (params, opt_state) and a jitted step on them."""
  tx, step = compiled(**overrides)
  params = make_params()
  return (params, tx.init(params)), step


def assert_equal(actual, expected):
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


def formula(t, *, steps, config=CONFIG):
  low, peak, warm_up = (
      config['min_lr'],
      config['peak_lr'],
      config['warmup_steps'],
  )
  if t < warm_up:
    return config['initial_lr'] + t * (peak - config['initial_lr']) / warm_up
  done = min((t - warm_up) / (steps - warm_up), 1.0)
  return low + 0.5 * (peak - low) * (1 + math.cos(math.pi * done))


def test_learning_rate_is_the_papers():
  schedule = optimizer.learning_rate(CONFIG, 60_000)
  at = 0, 1, 300, 599, 600, 601, 17_000, 30_300, 59_999, 60_000, 70_000
  expected = [formula(t, steps=60_000) for t in at]
  actual = jax.jit(schedule)(jnp.int32(at))
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  with jax.enable_x64(True):
    exact = jax.jit(schedule)(jnp.int64(at))
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-12)


def test_learning_rate_has_the_ends_that_the_config_names():
  schedule = optimizer.learning_rate(CONFIG, 60_000)
  ends = [float(schedule(t)) for t in (0, 600, 60_000, 10**6)]
  assert ends == pytest.approx([1e-6, 8e-4, 8e-5, 8e-5], abs=1e-10)


@pytest.mark.parametrize('steps', [1, 2, 600])
def test_a_run_shorter_than_its_warm_up_only_warms_up(steps):
  schedule = optimizer.learning_rate(CONFIG, steps)
  for t in range(min(steps, 3)):
    assert schedule(t) == pytest.approx(formula(t, steps=60_000), rel=1e-5)


def test_without_warm_up_the_first_step_has_the_peak():
  schedule = optimizer.learning_rate(CONFIG | {'warmup_steps': 0}, 10)
  assert schedule(0) == pytest.approx(8e-4)


@both_optimizers
def test_zero_gradients_move_exactly_the_decaying_parameters(name):
  carry, step = make(name=name)
  params, _ = step(carry, make_grads(0, scale=0.0))
  lr = formula(0, steps=50, config=CONFIG | {'peak_lr': 0.1})
  for name, before in carry[0].items():
    decay = lr * CONFIG['weight_decay'] if WEIGHTS[name].decays else 0
    factor = 1 - decay
    np.testing.assert_allclose(params[name], factor * before, rtol=1e-6)


def test_gradients_are_clipped_to_the_global_norm():
  carry, step = make(eps=1.0)  # a large eps lets the gradient's scale through
  grads = make_grads(0)
  norm = float(optax.tree.norm(grads))
  _, clipped = step(carry, jax.tree.map(lambda g: 7.0 * g, grads))
  _, unit = step(carry, jax.tree.map(lambda g: g / norm, grads))
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7),
      clipped.inner,
      unit.inner,
  )
  assert clipped.last_norm == pytest.approx(7.0 * norm, rel=1e-5)


def test_a_clip_norm_of_0_is_none():
  (_, without), step = make(clip_norm=0.0, eps=1.0)
  (_, huge), clipped_step = make(clip_norm=1e9, eps=1.0)
  assert jax.tree.structure(without) == jax.tree.structure(huge)
  params, state = make_params(), make_grads(0, scale=100.0)
  assert_equal(
      step((params, without), state), clipped_step((params, huge), state)
  )


@pytest.mark.parametrize('bad', [NAN, INF, -INF])
@pytest.mark.parametrize('name', sorted(make_params()))
def test_one_bad_gradient_entry_leaves_everything_unchanged(bad, name):
  carry, step = make()
  carry = step(carry, make_grads(0))
  grads = make_grads(1)
  grads[name] = grads[name].at[(0,) * grads[name].ndim].set(bad)
  params, state = step(carry, grads)
  assert_equal((params, state.inner), (carry[0], carry[1].inner))
  assert_equal(state.mean_norm, carry[1].mean_norm)
  assert [int(x) for x in state[:3]] == [1, 1, 1]
  assert not np.isfinite(state.last_norm)


@pytest.mark.parametrize('value', [NAN, INF])
def test_a_bad_loss_leaves_everything_unchanged(value):
  carry, step = make()
  params, state = step(carry, make_grads(0), value)
  assert_equal((params, state.inner), (carry[0], carry[1].inner))
  assert int(state.skipped) == 1


def test_updates_that_are_not_finite_leave_everything_unchanged():
  carry, step = make(b1=1.0)  # whose bias correction divides by zero
  params, state = step(carry, make_grads(0))
  assert_equal((params, state.inner), (carry[0], carry[1].inner))
  assert [int(x) for x in state[:3]] == [0, 1, 1]


@both_optimizers
def test_recovery_equals_never_having_seen_the_bad_steps(name):
  clean, step = make(name=name)
  dirty = clean
  for seed in range(6):
    if seed in (2, 3, 5):
      dirty = step(dirty, make_grads(seed, scale=NAN))
    clean = step(clean, make_grads(seed))
    dirty = step(dirty, make_grads(seed))
  assert_equal((dirty[0], dirty[1].inner), (clean[0], clean[1].inner))
  assert [int(x) for x in dirty[1][:3]] == [6, 3, 0]
  assert [int(x) for x in clean[1][:3]] == [6, 0, 0]


def test_consecutive_bad_steps_are_counted():
  carry, step = make()
  for bad in (1, 2, 3):
    carry = step(carry, make_grads(0, scale=NAN))
    assert int(carry[1].consecutive) == bad
  carry = step(carry, make_grads(0))
  assert [int(x) for x in carry[1][:3]] == [1, 3, 0]


def test_a_spike_is_skipped_after_the_warm_up_and_only_when_asked(monkeypatch):
  monkeypatch.setattr(optimizer, 'NORM_MEMORY', 3)
  skipped = {}
  for factor in (0.0, 5.0):
    carry, step = make(spike_factor=factor)
    for scale in (1, 100, 1, 1, 1, 1, 1, 4, 1000, 4):
      carry = step(carry, make_grads(0, scale))
    skipped[factor] = int(carry[1].skipped)
  assert skipped == {0.0: 0, 5.0: 1}  # 100 comes too early, 4 is not enough


def test_the_mean_norm_is_that_of_accepted_gradients():
  carry, step = make()
  norms = []
  for scale in (1.0, NAN, 2.0, 6.0):
    carry = step(carry, make_grads(0, scale))
    norms.append(float(carry[1].last_norm))
  expected = np.mean([norms[0], norms[2], norms[3]])
  assert carry[1].mean_norm == pytest.approx(expected, rel=1e-5)


def test_gradients_and_updates_are_summed_up_once():
  tx = optimizer.build(CONFIG, 50, WEIGHTS)
  params = make_params()
  hlo = jax.jit(tx.update).lower(params, tx.init(params), params)
  # Two sums of squares for each parameter: of its gradient, which what clips
  # and what logs share, and of its update.
  assert hlo.compile().as_text().count(' reduce(') == 2 * len(params)


def test_muon_is_that_of_optax_for_matrices_and_adamw_for_the_rest(tiny_config):
  """Both with the same learning rate and weight decay, over two steps."""
  weights = cost.weights(tiny_config(mixers=('conv', 'pla')))
  matrices = {name for name, x in weights.items() if x.matrix}
  settings = CONFIG | {'clip_norm': 0.0, 'weight_decay': 0.3, 'momentum': 0.8}
  own = optimizer.build(settings | {'name': 'muon'}, 50, weights)
  rate = optimizer.learning_rate(settings, 50)
  # A matrix at a time, so that nothing is stacked.
  muon = optax.contrib.muon(
      rate, beta=0.8, weight_decay=0.3, consistent_rms=0.2
  )
  rest = optimizer.build(settings, 50, weights)

  def apart(name, x):
    """A list of single matrices."""
    inputs, outputs = weights[name].matrix
    x = np.moveaxis(x, (inputs, outputs), (-2, -1))
    return [*x.reshape(-1, *x.shape[-2:])]

  draw = lambda seed: {
      name: jax.random.normal(jax.random.key(seed), x.shape)
      for name, x in weights.items()
  }
  params = draw(0)
  states = [tx.init(params) for tx in (own, rest)]
  single = {name: apart(name, params[name]) for name in matrices}
  muon_state = muon.init(single)
  for grads in (draw(1), draw(2)):
    actual, states[0] = own.update(grads, states[0], params)
    expected, states[1] = rest.update(grads, states[1], params)
    of_matrices, muon_state = muon.update(
        {name: apart(name, grads[name]) for name in matrices},
        muon_state,
        single,
    )
  for name in weights.keys() - matrices:
    np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)
  for name in matrices:
    for x, y in zip(apart(name, actual[name]), of_matrices[name], strict=True):
      np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-9, err_msg=name)


def test_updates_of_muon_have_the_size_that_the_config_names():
  for rms in (0.2, 0.4):
    carry, step = make(
        name='muon', update_rms=rms, weight_decay=0.0, warmup_steps=0
    )
    params, _ = step(carry, make_grads(0))
    name = 'layers.0.mlp.fc1.kernel'
    update = (params[name] - carry[0][name]) / 0.1  # the learning rate
    # Singular values are not quite 1 after five iterations.
    assert 0.7 * rms < np.sqrt(np.mean(update**2)) < 1.3 * rms
