import re

from flax import nnx
import pytest

from configs.ablations import feature_map
from jrt_jax import cost
from jrt_jax.cost.feature_maps import MAPS
from jrt_jax.models import feature_maps


def pla_state(config):
  """Bytes of the state of one layer."""
  model = config.model.to_dict() | {'mixers': ('pla',)}
  return cost.state_bytes(model, length=1)


def features(*, feature_dim, separate_encoder, **settings):
  """F, on average over heads."""
  del separate_encoder

  def build():
    sizes = {'head_dim': feature_dim, 'num_heads': 2, 'rngs': nnx.Rngs(0)}
    return nnx.List(feature_maps.build_groups(**settings, **sizes))

  groups = nnx.eval_shape(build)
  return sum(each.width * each.num_heads for each in groups) / 2


def test_every_map_is_there():
  assert {*feature_map.FEATURE_DIMS} == {
      *MAPS,
      feature_maps.HYBRID,
  }


@pytest.mark.parametrize('name', feature_map.FEATURE_DIMS)
def test_states_are_equal(name):
  expected = pla_state(feature_map.get_config())
  actual = pla_state(feature_map.get_config(name))
  assert actual == pytest.approx(expected, rel=0.04)


def test_a_choice_differs_in_the_map_only():
  config = feature_map.get_config('hedgehog@jrt_tiny').to_dict()
  expected = feature_map.get_config('taylor_exp@jrt_tiny').to_dict()
  assert config.pop('model').pop('feature_map') == expected['model'].pop(
      'feature_map'
  ) | {'name': 'hedgehog', 'feature_dim': 76}
  expected.pop('model')
  assert config == expected


def test_the_docstring_says_what_is_so():
  rows = re.findall(r'^ +(\w+) +(\d+)  ([\d.]+)$', feature_map.__doc__, re.M)
  assert {name: int(D) for name, D, _ in rows} == feature_map.FEATURE_DIMS
  for name, _, F in rows:
    settings = feature_map.get_config(name).model.feature_map.to_dict()
    assert features(**settings) == float(F), name


@pytest.mark.parametrize(
    'choice, message',
    [
        ('exp', "must name a map of .*, got 'exp'"),
        ('mlp@jrt_2b', "must name a size of .*, got 'jrt_2b'"),
    ],
)
def test_an_unknown_choice_is_one_line(choice, message):
  with pytest.raises(ValueError, match=message):
    feature_map.get_config(choice)
