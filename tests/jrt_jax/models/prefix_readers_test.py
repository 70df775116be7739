import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import cost
from jrt_jax import models
from jrt_jax.cost import training_memory
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.models import extend_prefix
from jrt_jax.models import prefix_readers
from jrt_jax.models.context import Context
from jrt_jax.models.prefix_linear_attention import PrefixLinearAttention
import pallas_kernels

B, L, P, E, H, D = 2, 8, 5, 12, 3, 4
V = E // H
RIDGE = {
    'prefix_reader': 'ridge',
    'causal_in_prefix': True,
    'first_values': 'random',
}


@pytest.fixture
def mixer(make_build):
  return PrefixLinearAttention(
      make_build(width=E),
      {
          'num_heads': H,
          'feature_map': {'name': 'taylor_exp', 'feature_dim': D},
          'normalizer': 'auto',
          'implementation': 'auto',
          'pla': RIDGE,
      },
      reads_prefix=True,
  )


def test_several_prefixes_in_a_row_are_refused(mixer):
  marked, ids = jnp.ones((B, L), bool), jnp.zeros((B, L), jnp.int32)
  context = Context(
      B, L, prefix_capacity=P, prefix_mask=marked, segment_ids=ids
  )
  with pytest.raises(
      ValueError, match='^prefix_mask must be None where segment_ids'
  ):
    mixer(jnp.zeros((B, L, E)), context)


def attention(mixer, x, lengths):
  """The outputs in float64, from the equation of the ridge regression."""
  x = np.asarray(x, np.float64)
  (group,) = mixer.groups

  def heads(linear):
    y = x @ np.asarray(linear.kernel, np.float64)
    return y.reshape(B, L, H, -1).swapaxes(1, 2)

  def features(k):  # [B, H, L, F]
    pairs = np.einsum('bhli,bhlj->bhlij', k, k) / (2 * D) ** 0.5
    pairs = pairs.reshape(B, H, L, -1)
    return np.concatenate([np.ones_like(k[..., :1]), k / D**0.25, pairs], -1)

  q, k, v = (heads(x) for x in (mixer.proj_q, mixer.proj_k, mixer.proj_v))
  k_enc, v_enc = heads(mixer.proj_k_enc), heads(mixer.proj_v_enc)
  inside = np.arange(L) < np.array(lengths)[:, None]
  phi = features(k_enc) * inside[:, None, :, None]
  # The kernel form: it does not depend on how monomials are stored, except for
  # F, by which the mean eigenvalue is divided.
  gram = np.einsum('bhif,bhjf->bhij', phi, phi)
  mean = np.trace(gram, axis1=-1, axis2=-2) / group.feature_map.width
  strength = np.asarray(
      group.reader.strength(group.feature_map.width), np.float64
  )
  unit = (mean * strength)[..., None, None] * np.eye(L)
  read = np.einsum('bhif,bhjf->bhij', features(q), phi)
  mean = mean[..., None, None]
  y = mean * read @ np.linalg.solve(gram + unit, v_enc)
  s = np.einsum('bhid,bhjd->bhij', q, k) / D**0.5
  y = y + ((1 + s + s**2 / 2) * np.tri(L)) @ v
  y = y / np.sqrt(np.square(y).mean(-1, keepdims=True))
  y = y.swapaxes(1, 2).reshape(B, L, E)
  return y @ np.asarray(mixer.out_proj.kernel, np.float64)


def test_queries_read_the_ridge_regression_and_the_causal_sum(mixer):
  x = jax.random.normal(jax.random.key(0), (B, L, E))
  context = Context(B, L, P, jnp.array([P, 2]))
  actual = jax.jit(lambda x: mixer(x, context))(x)
  expected = attention(mixer, x, [P, 2])
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=2e-5)


def test_what_follows_the_prefix_is_not_in_it(mixer):
  x = jax.random.normal(jax.random.key(0), (B, L, E))
  read = jax.jit(lambda x: mixer(x, Context(B, L, P, jnp.array([P, 2]))))
  changed = read(x.at[0, P:].add(1).at[1, 2:].add(1))
  np.testing.assert_array_equal(changed[0, :P], read(x)[0, :P])
  np.testing.assert_array_equal(changed[1, :2], read(x)[1, :2])


def test_a_prefix_belongs_to_the_first_document(mixer):
  x = jax.random.normal(jax.random.key(0), (B, L, E))
  ids = jnp.array([[0] * 3 + [1] * 5] * B)
  packed = Context(B, L, P, jnp.array([P, 3]), segment_ids=ids)
  y = jax.jit(lambda x: mixer(x, packed))(x)
  alone = mixer(x[:, :3], Context(B, 3, 3, jnp.array([3, 3])))
  np.testing.assert_allclose(y[:, :3], alone, rtol=1e-4, atol=1e-5)
  after = mixer(x[:, 3:], Context(B, 5))
  np.testing.assert_allclose(y[:, 3:], after, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('features, least', [(15, 1e-3), (153, 1.53e-3)])
def test_the_strength_is_trained_above_a_floor(features, least):
  ridge = prefix_readers.RidgePrefix(2)
  np.testing.assert_allclose(ridge.strength(features), least + 0.01, rtol=1e-5)
  ridge.log_strength[...] = jnp.array([-1e3, 0.0])
  np.testing.assert_allclose(
      ridge.strength(features), [least, least + 1], rtol=1e-5
  )


def test_a_contracted_query_reads_less_of_what_many_keys_share():
  # Ten keys along the first axis, and one along the second.
  kk = jnp.diag(jnp.array([10.0, 1.0, 0.0]))[None, None]
  kv = jnp.array([[10.0], [1.0], [0.0]])[None, None]
  reader = prefix_readers.ContractedPrefix(1)
  state = reader.state(pallas_kernels.PrefixSums(kk, kv))
  np.testing.assert_allclose(
      state.kv[0, 0, :, 0], [10 * (1 - 10 / 11), 1 - 1 / 11, 0], rtol=1e-6
  )
  assert not state.k.any()
  nothing = pallas_kernels.PrefixSums(0 * kk, 0 * kv)
  np.testing.assert_array_equal(reader.state(nothing).kv, 0 * kv)


def test_a_weak_contraction_is_a_strong_ridge_regression():
  k = jax.random.normal(jax.random.key(0), (B, L, H, D))
  v = jax.random.normal(jax.random.key(1), (B, L, H, V))
  sums = pallas_kernels.prefix_sums(k, v)
  reader = prefix_readers.ContractedPrefix(H)
  reader.log_strength[...] = jnp.full(H, np.log(1e-3))
  # λ s = tr A / β, so that (A + λ s I)⁻¹ B tr A / β = B - β A B / tr A + …
  strength = np.float32([sums.kk.shape[-1] / 1e-3] * H)
  ridge = pallas_kernels.ridge_state(sums, strength).kv * strength[0]
  np.testing.assert_allclose(reader.state(sums).kv, ridge, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('normalizer', ['sum', 'clamp'])
def test_a_normalizer_by_the_sum_of_weights_is_refused(tiny_config, normalizer):
  config = tiny_config(mixers=('pla',), pla=RIDGE, normalizer=normalizer)
  message = f"normalizer must be output_rms or none .*'ridge'.*'{normalizer}'"
  for read in (models.abstract, cost.shapes):
    with pytest.raises(ValueError, match=message):
      read(config)


@pytest.mark.parametrize('feature_map', ['taylor_exp', 'hybrid_heads', 'mlp'])
def test_the_facts_are_those_of_the_model(tiny_config, feature_map):
  settings = tiny_config()['feature_map'] | {'name': feature_map}
  config = tiny_config(
      mixers=('pla', 'la'), pla=RIDGE, feature_map=settings, window=5
  )
  params = models.abstract(config)[1]
  assert {name: x.shape for name, x in params.items()} == cost.shapes(config)
  strengths = [x for x in params if x.endswith('reader.log_strength')]
  assert {x.partition('.groups')[0] for x in strengths} == {'layers.0.mixer'}
  facts = cost.weights(config)
  assert not any(facts[name].decays for name in strengths)


def test_the_state_stays_as_large_and_the_solve_costs(tiny_config):
  sums, solves = tiny_config(mixers=('pla',)), tiny_config(
      mixers=('pla',), pla=RIDGE
  )
  size = [cost.state_bytes(x, length=9) for x in (sums, solves)]
  assert size[0] == size[1]
  pla, F = MIXERS['pla'], 15
  more = pla.products(solves, 100, 0.5) - pla.products(sums, 100, 0.5)
  heads, V = 2, 8
  assert more == pytest.approx(heads * F**2 * (0.5 + (F / 6 + V) / 100))
  assert pla.products(solves, 100, 0) == pla.products(sums, 100, 0)
  kept = [
      training_memory.working_bytes(
          x,
          mesh={'data': 1, 'fsdp': 1, 'sequence': 1, 'tensor': 1},
          microbatch=3,
          sequence_length=100,
          prefix_capacity=0.5,
      )['activations']
      for x in (sums, solves)
  ]
  assert kept[1] - kept[0] == pytest.approx(3 * heads * 4 * F * (F + V), abs=1)


def test_a_prefix_that_was_solved_cannot_be_extended_in_place(tiny_config):
  merge, params = models.split(
      models.build(tiny_config(mixers=('pla',), pla=RIDGE))
  )
  model = merge(params)
  stream = extend_prefix.start(model, batch=1)
  with pytest.raises(ValueError, match="mode must be 'exact' .* pla layers"):
    extend_prefix.extend_prefix(
        model,
        stream,
        jnp.ones((1, 4), jnp.int32),
        jnp.array([0]),
        mode='frozen',
    )
