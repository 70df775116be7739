import functools
import importlib
import pkgutil
import re

import jax
import jax.numpy as jnp
import pytest

import configs
from configs import attention_1b
from configs import attention_360m
from configs import based_1b
from configs import based_360m
from configs import jrt_1b
from configs import jrt_360m
from configs import pla_pure_360m
from configs import pla_swa_360m
from configs import study
from configs import synthetic
from configs.ablations import feature_map as ablation
from jrt_jax import cost
from jrt_jax import models
from jrt_jax.cost.mixers import MIXERS

# Counts and sizes of the official models, one layer of each kind.
CONV, PLA, LA, SWA = 6_302_720, 3_932_160, 2_621_440, 4_194_304
MLP, NORMS, EMBEDDING = 6_291_456, 2_048, 51_470_336

CONFIGS = [
    m.name
    for m in pkgutil.iter_modules(configs.__path__)
    # These have no parameters of their own, or are not the paper's.
    if not m.ispkg and m.name not in ('base', 'recorded', 'synthetic')
]


def released(config, **overrides):
  """The model of a config with the vocabulary padding of released models."""
  return config.get_config().model.to_dict() | {'vocab_multiple': 8} | overrides


def test_jrt_360m_has_the_parameters_of_the_released_model():
  parts = cost.parameters(released(jrt_360m))
  assert parts == {
      'embedding': EMBEDDING,
      'conv': 16 * CONV,
      'pla': 5 * PLA,
      'swa': 5 * SWA,
      'mlp': 26 * MLP,
      'norm': 26 * NORMS + 1024,
  }
  assert sum(parts.values()) == 356_578_304


def test_based_360m_has_the_parameters_of_the_released_model():
  parts = cost.parameters(released(based_360m))
  assert parts == {
      'embedding': EMBEDDING,
      'conv': 17 * CONV,
      'la': 5 * LA,
      'swa': 5 * SWA,
      'mlp': 27 * MLP,
      'norm': 27 * NORMS + 1024,
  }
  assert sum(parts.values()) == 362_620_928


def test_attention_360m_has_the_parameters_of_the_released_model():
  parts = cost.parameters(released(attention_360m, vocab_multiple=16))
  assert parts == {
      'embedding': 50_272 * 1024,
      'attention': 24 * SWA,
      'mlp': 24 * 3 * 1024 * 2816,
      'norm': 24 * NORMS + 1024,
  }
  assert sum(parts.values()) == 359_810_048


@pytest.mark.parametrize(
    ('config', 'vocab_multiple', 'official'),
    [
        (jrt_360m, 8, 356_578_304),
        (jrt_1b, 8, 1_375_143_168),
        (based_360m, 8, 362_620_928),
        (based_1b, 8, 1_349_453_056),
        (attention_360m, 16, 359_810_048),
        (attention_1b, 16, 1_327_080_720),
        (pla_pure_360m, 8, 353_017_728),
        (pla_swa_360m, 8, 355_229_568),
    ],
)
def test_models_have_the_official_parameters_and_say_so(
    config, vocab_multiple, official
):
  theirs = released(config, vocab_multiple=vocab_multiple)
  assert sum(cost.parameters(theirs).values()) == official
  assert f'{official:,} ' in config.__doc__


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_says_its_command_its_parameters_and_its_source(name):
  config = importlib.import_module(f'configs.{name}')
  text = ' '.join(config.__doc__.replace('\\\n', ' ').split())
  assert (
      f'jrt_jax.train --config=configs/{name}.py --workdir=runs/{name}' in text
  )
  assert re.search(r'Source: .*https://arxiv\.org/abs/\d{4}\.\d{5}', text)
  stated = re.search(r'([\d,]+) parameters', text)[1]
  own = config.get_config().model.to_dict()
  assert stated == f'{sum(cost.parameters(own).values()):,}'


@pytest.mark.parametrize('name', ('mlp', 'gaussian_rff', 'mixture'))
def test_weight_decay_spares_the_embedding_biases_and_random_projections(
    name, tiny_config
):
  """And decays of the state, as in the official runs; not norm scales and taps."""
  maps = {
      'name': name,
      'feature_dim': 4,
      'num_features': 6,
      'parts': ('mlp', 'gaussian_rff'),
  }
  config = tiny_config(mixers=tuple(MIXERS), feature_map=maps)
  weights = cost.weights(config)
  spared = {name for name, x in weights.items() if not x.decays}
  ends = '.bias', '.projection', '.A_log', '.dt_bias', '.skip'
  assert spared == {'embedding.embedding'} | {
      name for name in weights if name.endswith(ends)
  }


def test_matrices_are_all_projections_and_nothing_else(tiny_config):
  maps = {**tiny_config()['feature_map'], 'name': 'mlp', 'num_features': 6}
  config = tiny_config(mixers=tuple(MIXERS), feature_map=maps)
  projections = re.compile(r'(in_proj|out_proj|proj_\w+|qkv|fc1|fc2)\.kernel$')
  for name, x in cost.weights(config).items():
    assert bool(x.matrix) == bool(projections.search(name)), name
    if x.matrix and len(x.shape) == 3:  # the axis of the heads, or of the stack
      (batch,) = {0, 1, 2} - {*x.matrix}
      assert batch == (0 if 'feature_map' in name else 1), name


def check_against_the_model(config):
  """What is counted is what a model that is built has and keeps."""
  merge, params = models.abstract(config)
  assert cost.shapes(config) == {name: x.shape for name, x in params.items()}

  def prefill(params):
    token = jnp.zeros((1, 1), jnp.int32)
    return merge(params).prefill(token, state_capacity=7)[1]

  state = jax.tree.leaves(jax.eval_shape(prefill, params))
  size = sum(x.size * x.dtype.itemsize for x in state)
  assert cost.state_bytes(config, length=7) == size


@pytest.mark.parametrize(
    'get_config',
    [importlib.import_module(f'configs.{name}').get_config for name in CONFIGS]
    + [functools.partial(study.get_config, arm) for arm in study.ARMS]
    + [synthetic.get_config],
)
def test_every_shipped_config_costs_what_its_model_has(get_config):
  check_against_the_model(get_config().model.to_dict())


@pytest.mark.parametrize('name', ablation.FEATURE_DIMS)
def test_every_feature_map_costs_what_its_model_has(name, tiny_config):
  maps = ablation.get_config(f'{name}@jrt_tiny').model.feature_map.to_dict()
  trained = name in ('mlp', 'hedgehog', 'mixture', 'hybrid_heads')
  for separate in {False, trained}:
    for changes in ({}, {'order': 3, 'degree': 3, 'offset': 0.0}):
      check_against_the_model(
          tiny_config(
              mixers=('pla', 'la'),
              feature_map=maps | changes | {'separate_encoder': separate},
          )
      )


def test_maps_without_projections_only_have_an_encoder(tiny_config):
  settings = {'parts': ('mlp', 'gaussian_rff'), 'num_features': 6}
  for name in ('hybrid_heads', 'mixture'):
    settings |= {'name': name, 'separate_encoder': name == 'hybrid_heads'}
    maps = tiny_config()['feature_map'] | settings
    check_against_the_model(tiny_config(mixers=('pla',), feature_map=maps))


@pytest.mark.parametrize('normalizer', ['sum', 'clamp', 'none', 'output_rms'])
def test_every_normalizer_costs_what_its_model_has(normalizer, tiny_config):
  check_against_the_model(tiny_config(normalizer=normalizer))


def test_layers_without_mlps_cost_what_their_model_has(tiny_config):
  config = tiny_config(mlp_width=0)
  check_against_the_model(config)
  assert 'mlp' not in cost.parameters(config)


def test_a_width_that_heads_do_not_divide_is_refused(tiny_config):
  for mixer, multiple in (('pla', 5), ('swa', 10)):
    message = f'model.width must be a multiple of {multiple} for .* got 16'
    with pytest.raises(ValueError, match=message):
      cost.parameters(tiny_config(mixers=(mixer,), num_heads=5))


@pytest.mark.parametrize(
    'normalizer, feature_map, message',
    [
        (
            'sum',
            {'name': 'linear'},
            'normalizer must be output_rms, .* or none',
        ),
        ('auto', {'name': 'gaussian_rff', 'num_features': 7}, 'even .* got 7'),
    ],
)
def test_a_model_that_cannot_be_built_costs_nothing(
    normalizer, feature_map, message, tiny_config
):
  maps = tiny_config()['feature_map'] | feature_map
  config = tiny_config(mixers=('pla',), normalizer=normalizer, feature_map=maps)
  for count in (cost.shapes, models.abstract):
    with pytest.raises(ValueError, match=message):
      count(config)


def test_state_bytes_of_jrt_360m_are_those_of_the_formula():
  heads, features = 16, 1 + 16 + 136
  pla = 4 * heads * features * (64 + 1)  # float32: values and their weights
  conv = 2 * (3 - 1) * 2048  # bfloat16
  swa = 2 * 129 * 2 * 1024 + 4  # bfloat16 keys and values, and the count
  expected = 5 * pla + 16 * conv + 5 * swa
  for length in (1, 100_000):
    assert cost.state_bytes(released(jrt_360m), length=length) == expected


def test_a_sink_takes_as_much_of_the_state_as_a_key_of_the_window(tiny_config):
  for length in (1, 100):
    before, after = (
        cost.state_bytes(
            tiny_config(mixers=('swa', 'swa'), sinks=sinks), length=length
        )
        for sinks in (0, 3)
    )
    assert after - before == 2 * 3 * 2 * 16 * 4  # float32 keys and values


def test_state_bytes_of_attention_grow_with_the_length():
  config = released(attention_360m)
  a_token = 24 * 2 * 2 * 1024  # bfloat16 keys and values
  for length in (1, 2048):
    expected = length * a_token + 24 * 4  # and the counts
    assert cost.state_bytes(config, length=length) == expected


def train_flops(config, prefix, supervised, length=2048):
  parts = cost.train_flops(
      config,
      sequence_length=length,
      prefix_fraction=prefix,
      supervised_fraction=supervised,
  )
  return sum(parts.values())


# With all logits, and with those of 1/2 + 15 % of the other 1/2 only.
@pytest.mark.parametrize(
    'supervised, expected', [(1, 2.14e9), (0.575, 2.007e9)]
)
def test_a_training_step_of_jrt_360m_has_the_flops_known_of_it(
    supervised, expected
):
  actual = train_flops(jrt_360m.get_config().model.to_dict(), 0.5, supervised)
  assert actual == pytest.approx(expected, rel=0.005)


def test_flops_count_every_multiplication_once(tiny_config):
  E, H, D, M, W, F, vocab, L = 16, 2, 4, 16, 5, 15, 20, 8
  head, mlp = vocab * E, 3 * E * M
  K, keys, values = 4, 2 * 4, 2 * 6  # two heads, whose states are 4 x 6
  delta = E * (2 * keys + 3 * values + 4) + K * (2 * keys + values) + 3 * 48
  delta_enc = E * (keys + values + 4) + K * (keys + values) + 2 * 2 * 48
  inner, shared = 4 * 4, 2 * 6  # four heads of two groups, states 6 x 4
  ssm = E * (3 * inner + 2 * shared + 4) + K * (inner + 2 * shared) + 2 * 96
  ssm_enc = E * (inner + shared + 4) + K * (inner + shared) + 96
  products = {
      'conv': 4 * E * E + 3 * 2 * E + 2 * E * E,
      'swa': 4 * E * E + 2 * (1 + 2 + 3 + 4 + 4 * W) / L * E,
      'attention': 4 * E * E + 2 * (L + 1) / 2 * E,
      'la': 2 * E * H * D + 2 * E * E + 2 * F * E,
      'pla': 2.5 * E * H * D + 2.5 * E * E + 2.5 * F * E,  # half is prefix
      'gdn': delta,
      'prefix_gdn': delta + delta_enc / 2,
      'mamba2': ssm,
      'prefix_mamba2': ssm + ssm_enc / 2,
  }
  for mixer, expected in products.items():
    config = tiny_config(mixers=(mixer,), vocab_size=vocab)
    assert train_flops(config, 0.5, 0.25, L) == pytest.approx(
        3 * 2 * (expected + mlp + head / 4)
    )


def test_flops_count_a_reading_of_the_prefix_for_each_of_its_documents(
    tiny_config,
):
  E, F, L, P, N = 16, 15, 8, 4, 3
  config = tiny_config(mixers=('conv', 'pla'))
  one, apart = (
      cost.train_flops(
          config,
          sequence_length=L,
          prefix_fraction=P / L,
          supervised_fraction=0.25,
          documents_in_prefix=documents,
      )
      for documents in (0, N)
  )
  # A token updates and reads the state; one of a prefix is also added to it.
  difference = (2 * L + N * 3 * P) / L - (2 * L + P) / L
  more = 3 * 2 * difference * F * E
  assert apart == {**one, 'pla': pytest.approx(one['pla'] + more)}


def test_sinks_are_keys_that_are_multiplied_with(tiny_config):
  E, W, S, L = 16, 5, 2, 10
  config = tiny_config(mixers=('swa',), window=W, sinks=S)
  pairs = sum(min(i + 1, W + S) for i in range(L)) / L
  alone = 4 * E * E + 3 * E * 16 + 20 * E / 4
  expected = 3 * 2 * (alone + 2 * pairs * E)
  assert train_flops(config, 0.5, 0.25, L) == pytest.approx(expected)


def test_flops_of_feature_maps_are_counted_for_queries_and_keys(tiny_config):
  E, H, D, M, F, L = 16, 2, 4, 16, 6, 8
  rest = 2.5 * E * H * D + 2.5 * E * E + 3 * E * M + 20 * E / 4
  mlp = H * (D * 4 * D + 4 * D * F)
  for name, separate, products in (
      ('gaussian_prf', False, 2.5 * (H * F * D + F * E)),
      ('mlp', False, 2.5 * (mlp + F * E)),
      ('mlp', True, 2.5 * (mlp + F * E)),
      ('hedgehog', False, 2.5 * (H * D * D + 2 * D * E)),
      ('hybrid_heads', False, 2.5 * (H * D * D / 2 + (15 + 2 * D) / 2 * E)),
  ):
    feature_map = {'name': name, 'feature_dim': D, 'num_features': F}
    feature_map['separate_encoder'] = separate
    config = tiny_config(mixers=('pla',), feature_map=feature_map)
    actual = train_flops(config, 0.5, 0.25, L)
    assert actual == pytest.approx(3 * 2 * (products + rest)), name


def test_a_window_longer_than_the_sequence_costs_what_attention_does(
    tiny_config,
):
  window, attention = (
      train_flops(tiny_config(mixers=(mixer,), window=9), 0, 1, length=8)
      for mixer in ('swa', 'attention')
  )
  assert window == attention


def test_heads_of_mamba2_divide_into_its_groups(tiny_config):
  config = tiny_config(mixers=('mamba2',))
  config['mamba2'] = {**config['mamba2'], 'num_groups': 3}
  message = r'mamba2.num_heads must be a multiple of num_groups=3, got 4'
  with pytest.raises(ValueError, match=message):
    cost.weights(config)
