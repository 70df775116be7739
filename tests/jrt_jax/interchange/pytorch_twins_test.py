import pytest

from configs import base
from jrt_jax.cost.feature_maps import MAPS
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.interchange import pytorch_twins
from jrt_jax.models.prefix_readers import READERS
from jrt_jax.prefix.policies import PREFIX_POLICIES


def make(**changes):
  config = base.get_config()
  config.update_from_flattened_dict(changes)
  return config.to_dict()


def test_all_choices_can_be_exported():
  pytorch_twins.check(make(**{'model.mixers': tuple(MIXERS)}))
  for name in (*MAPS, 'hybrid_heads'):
    pytorch_twins.check(make(**{'model.feature_map.name': name}))
  for name in READERS:
    pytorch_twins.check(make(**{'model.pla.prefix_reader': name}))
  for name in PREFIX_POLICIES:
    pytorch_twins.check(make(**{'prefix.name': name}))


@pytest.mark.parametrize(
    'table, key, value',
    [
        (MIXERS, 'model.mixers', ('conv', 'new')),
        (MAPS, 'model.feature_map.name', 'new'),
        (READERS, 'model.pla.prefix_reader', 'new'),
        (PREFIX_POLICIES, 'prefix.name', 'new'),
    ],
)
def test_what_has_no_twin_is_refused(monkeypatch, table, key, value):
  monkeypatch.setitem(table, 'new', PREFIX_POLICIES['learned'])
  message = f'config.{key} must be one of .*, got new, which has no PyTorch'
  with pytest.raises(ValueError, match=message):
    pytorch_twins.check(make(**{key: value}))
