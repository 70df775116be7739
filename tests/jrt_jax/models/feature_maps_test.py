"""What every feature map declares is true of it."""

import hypothesis
from hypothesis import strategies as st
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.cost import feature_maps as cost_of_maps
from jrt_jax.models import feature_maps
from jrt_jax.models.head_group import HeadGroup
from jrt_jax.models.context import Context

B, L, H, D, V = 1, 4, 2, 4, 3
SETTINGS = {'num_features': 6, 'parts': ('gaussian_prf', 'hedgehog')}
# What a network in trouble may give, in bfloat16.
LENGTHS = [0.0, 1e-30, 1e-3, 1.0, 20.0, 1e3]


def build(name, **settings):
  return feature_maps.build(
      name,
      head_dim=D,
      num_heads=H,
      rngs=nnx.Rngs(0),
      **SETTINGS | settings,
  )


MAPS = {name: build(name) for name in cost_of_maps.MAPS}


@pytest.fixture(scope='module')
def weigh():
  """φ(q)·φ(k) [H, L, L] by each map, compiled once."""

  def weights(q, k):
    return {
        name: jnp.einsum('qhf,khf->hqk', each.features(q), each.features(k))
        for name, each in MAPS.items()
    }

  return jax.jit(weights)


@pytest.fixture(
    scope='module',
    params=[
        pytest.param([*MAPS], marks=pytest.mark.slow, id='all'),
        pytest.param(['relu', 'gaussian_prf'], id='some'),
    ],
)
def attend(request):
  """Outputs and gradients of maps with the normalisers that they declare."""

  def outputs(each, q, k, v):
    group = HeadGroup(
        each,
        None,
        normalizer='auto',
        value_dim=V,
        implementation='reference',
    )
    y, _ = group.attend(q, k, v, None, None, context=Context(B, L), state=None)
    return y

  @jax.jit
  def attend(*arrays):
    results = {}
    for name in request.param:
      y, vjp = jax.vjp(lambda *x: outputs(MAPS[name], *x), *arrays)
      results[name] = y, *vjp(jnp.ones_like(y))
    return results

  return attend


@st.composite
def keys(draw):
  """Queries or keys [L, H, D], some alike or opposite, of any lengths."""
  rng = np.random.default_rng(draw(st.integers(0, 99)))
  directions = rng.standard_normal((L, H, D))
  if draw(st.booleans()):
    directions[1:] = directions[0] * rng.choice([-1, 1], (L - 1, 1, 1))
  lengths = [draw(st.sampled_from(LENGTHS)) for _ in range(L)]
  return directions * np.array(lengths)[:, None, None]


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(keys(), keys())
def test_no_weight_has_a_sign_that_is_not_declared(weigh, q, k):
  for name, weights in weigh(np.float32(q), np.float32(k)).items():
    if MAPS[name].sign != 'signed':
      rounding = 1e-6 * np.abs(weights).max()
      assert (weights >= -rounding).all(), name


def test_a_weight_can_have_every_sign_that_is_declared(weigh):
  x = np.random.default_rng(0).standard_normal((50, 2, L, H, D), np.float32)
  found = [jax.device_get(weigh(q, k)) for q, k in x]
  for name, each in MAPS.items():
    least = min(weights[name].min() for weights in found)
    assert (least < -1e-3) == (each.sign == 'signed'), name
    assert least > 0 or each.sign != 'positive', name


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(keys(), keys())
def test_outputs_and_gradients_are_finite_in_bfloat16(attend, q, k):
  v = np.random.default_rng(0).standard_normal((B, L, H, V))
  arrays = [jnp.asarray(x, jnp.bfloat16) for x in (q[None], k[None], v)]
  for name, results in attend(*arrays).items():
    for x in results:
      assert np.isfinite(np.float32(x)).all(), name


@pytest.mark.parametrize('name', MAPS)
def test_features_have_the_declared_width_and_the_dtype_of_what_comes(name):
  each = MAPS[name]
  for dtype in (jnp.float32, jnp.bfloat16):
    for shape in ((2, 3, H, D), (2, H, D)):
      phi = jax.eval_shape(each.features, jax.ShapeDtypeStruct(shape, dtype))
      assert phi.shape == (*shape[:-1], each.width) and phi.dtype == dtype


@pytest.mark.parametrize('name', [n for n in MAPS if MAPS[n].closed_form])
def test_the_operation_weighs_what_is_prepared_as_features_do(name):
  each = MAPS[name]

  @jax.jit
  def weigh(q, k):
    prepared = each.prepare(q), each.prepare(k)
    dot = (prepared[0] * prepared[1]).sum(-1)
    expected = (each.features(q) * each.features(k)).sum(-1)
    return each.operation.kernel(dot, prepared[0].shape[-1]), expected

  q, k = np.random.default_rng(0).standard_normal((2, H, D), np.float32)
  np.testing.assert_allclose(*weigh(q, k), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    'name, settings, sign',
    [
        ('taylor_exp', {'order': 3}, 'signed'),
        ('taylor_exp', {'order': 4}, 'positive'),
        ('polynomial', {'degree': 3}, 'signed'),
        ('symmetric_power', {'degree': 4}, 'nonnegative'),
        ('mixture', {'parts': ('hedgehog', 'gelu')}, 'signed'),
        ('mixture', {'parts': ('polynomial', 'hedgehog')}, 'positive'),
    ],
)
def test_the_sign_depends_on_the_settings(name, settings, sign):
  assert build(name, **settings).sign == sign


def test_maps_whose_weights_can_vanish_normalise_outputs():
  by_output = {n for n, each in MAPS.items() if each.normalizer == 'output_rms'}
  assert by_output == {
      'linear',
      'gelu',
      'polynomial',
      'symmetric_power',
      'gaussian_rff',
  }


def test_a_mean_is_never_larger_than_its_values_or_it_is_refused(weigh):
  rng = np.random.default_rng(0)
  basis = np.linalg.qr(rng.standard_normal((D, D)))[0].astype(np.float32)
  # Up to rounding no query has anything of a key.
  q = rng.standard_normal((L, H, D // 2), np.float32) @ basis[: D // 2]
  k = rng.standard_normal((L, H, D // 2), np.float32) @ basis[D // 2 :]
  signs = np.where(np.arange(L) % 2, 1, -1)
  refused = set()
  for name, weights in weigh(q, k).items():
    try:
      HeadGroup(
          MAPS[name], None, normalizer='sum', value_dim=1, implementation=None
      )
    except ValueError:
      refused.add(name)
    else:
      mean = (weights * signs).sum(-1) / weights.sum(-1)
      assert abs(mean).max() < 1.001, name
  assert refused == {
      'linear',
      'gelu',
      'polynomial',
      'symmetric_power',
      'gaussian_rff',
  }


def test_hybrid_heads_are_groups_of_consecutive_heads():
  settings = {'head_dim': D, 'num_heads': 6, 'rngs': nnx.Rngs(0)}
  parts = ('mlp', 'linear', 'hedgehog')
  for heads, expected in (((3, 1, 2), [3, 1, 2]), ((), [2, 2, 2])):
    groups = feature_maps.build_groups(
        'hybrid_heads', parts=parts, heads=heads, **settings
    )
    assert [each.num_heads for each in groups] == expected
    assert groups[0].fc1.kernel.shape[0] == expected[0]


@pytest.mark.parametrize(
    'name, settings, message',
    [
        ('exp', {}, r"name must be one of linear, .*, got 'exp'"),
        (
            'mixture',
            {'parts': ('exp', 'mlp')},
            r"parts\[0\] must be one .* got 'exp'",
        ),
        (
            'mixture',
            {'parts': 2 * ('mixture',)},
            r"parts\[0\] .*, got 'mixture'",
        ),
        ('mixture', {'parts': ('mlp',)}, 'parts must be a list of 2 .* got 1'),
        ('hybrid_heads', {'parts': ()}, 'parts must be a list of 2 .* got 0'),
        ('hybrid_heads', {'heads': (1, 2)}, r'divide 2 heads .* got \(1, 2\)'),
        ('hybrid_heads', {'heads': (2, 0)}, r'divide 2 heads .* got \(2, 0\)'),
        ('mlp', {'num_features': 0}, 'num_features must be .* from 1 .* got 0'),
        ('gaussian_rff', {'num_features': 3}, 'num_features must be even .* 3'),
        ('linear', {'head_dim': 0}, 'feature_dim must be .* from 1 .* got 0'),
        ('taylor_exp', {'order': 0}, 'order must be a whole number .* got 0'),
        ('taylor_exp', {'order': 99}, 'order must be .* from 1 to 8, got 99'),
        ('taylor_exp', {'order': 8, 'head_dim': 99}, 'monomials.*lower one'),
    ],
)
def test_impossible_settings_are_one_line(name, settings, message):
  settings = {'head_dim': D, 'num_heads': 2, 'rngs': nnx.Rngs(0)} | settings
  with pytest.raises(ValueError, match=message) as error:
    feature_maps.build_groups(name, **settings)
  assert '\n' not in str(error.value)


def test_the_table_has_a_line_for_each_map():
  first, *lines = feature_maps.table().splitlines()
  assert first.split()[:3] == ['map', 'F', 'kernel']
  assert [line.split()[0] for line in lines] == [*cost_of_maps.MAPS]
  assert 'taylor_exp       153  positive' in '\n'.join(lines)
