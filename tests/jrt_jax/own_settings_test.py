import importlib
import pkgutil

from flax import traverse_util
import pytest

import configs
from configs import base
from configs import study
from configs import synthetic
from configs.ablations import feature_map
from jrt_jax import own_settings
from jrt_jax.cost.feature_maps import MAPS
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.cost.optimizers import OPTIMIZERS
from jrt_jax.data.objectives import OBJECTIVES
from jrt_jax.data.source_table import SOURCES
from jrt_jax.data.synthetic.tasks import TASKS
from jrt_jax.prefix.policies import PREFIX_POLICIES

TABLES = {
    'model.feature_map': MAPS,
    'prefix': PREFIX_POLICIES,
    'objective': OBJECTIVES,
    'optimizer': OPTIMIZERS,
    'data': SOURCES,
    'data.synthetic': TASKS,
}
FILES = [
    x.name
    for x in pkgutil.iter_modules(configs.__path__)
    if not x.ispkg and x.name != 'recorded'
]
CHOICES = {'study': study.ARMS, 'synthetic': synthetic.TASKS}


def make(**changes):
  config = base.get_config()
  config.update_from_flattened_dict(changes)
  return config.to_dict()


@pytest.mark.parametrize('file', FILES)
def test_every_config_sets_what_it_reads(file):
  get_config = importlib.import_module(f'configs.{file}').get_config
  for choice in [[x] for x in CHOICES.get(file, ())] or [[]]:
    own_settings.check(get_config(*choice).to_dict())


@pytest.mark.parametrize('name', feature_map.FEATURE_DIMS)
def test_every_ablation_sets_what_it_reads(name):
  own_settings.check(feature_map.get_config(name).to_dict())


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            {'model.gdn.key_dim': 3},
            'model.gdn.key_dim is a setting of gdn and prefix_gdn layers, but'
            ' config.model.mixers has none',
        ),
        (
            {'model.mixers': ('gdn',), 'model.gdn.prefix_passes': 'both'},
            'model.gdn.prefix_passes is a setting of prefix_gdn layers, but'
            ' config.model.mixers has none',
        ),
        (
            {'model.feature_map.degree': 3},
            'model.feature_map.degree is a setting of polynomial and'
            " symmetric_power, but config.model.feature_map.name is 'taylor_exp'",
        ),
        (
            {
                'model.feature_map.name': 'mixture',
                'model.feature_map.degree': 3,
            },
            'model.feature_map.degree is a setting of polynomial and'
            ' symmetric_power, but config.model.feature_map.name is'
            " 'mixture' with 'taylor_exp' with 'hedgehog'",
        ),
        (
            {
                'model.feature_map.name': 'mixture',
                'model.feature_map.heads': (1,),
            },
            'model.feature_map.heads is a setting of hybrid_heads, but'
            " config.model.feature_map.name is 'mixture' with",
        ),
        (
            {'prefix.base': 0.25},
            "prefix.base is a setting of entropy, but config.prefix.name is 'fixed'",
        ),
        (
            {'prefix.name': 'none', 'prefix.capacity': 0.25},
            'prefix.capacity is a setting of fixed, uniform, entropy and learned,'
            " but config.prefix.name is 'none'",
        ),
        (
            {'optimizer.momentum': 0.9},
            'optimizer.momentum is a setting of muon, but config.optimizer.name is'
            " 'adamw'",
        ),
        (
            {'objective.name': 'prefix_lm', 'objective.mask_rate': 0.5},
            'objective.mask_rate is a setting of jrt, but config.objective.name is'
            " 'prefix_lm'",
        ),
        (
            {'data.text_key': 'content', 'data.source': 'text'},
            'data.text_key is a setting of jsonl and parquet, but'
            " config.data.source is 'text'",
        ),
        (
            {'data.synthetic.hops': 3, 'data.source': 'needle'},
            'data.synthetic.hops is a setting of multi_hop, but'
            " config.data.source is 'needle'",
        ),
        (
            {'data.synthetic.binary': True},
            'data.synthetic.binary is a setting of set_disjointness, but'
            " config.data.source is 'python_stdlib'",
        ),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(changes, message):
  with pytest.raises(ValueError) as error:
    own_settings.check(make(**changes))
  assert str(error.value).startswith(f'config.{message}')


def test_each_part_of_a_hybrid_reads_its_settings():
  for name in ('hybrid_heads', 'mixture'):
    changes = {'name': name, 'parts': ('polynomial', 'mlp'), 'degree': 3}
    config = make(**{f'model.feature_map.{k}': x for k, x in changes.items()})
    own_settings.check(config)


@pytest.mark.parametrize('part', TABLES)
def test_every_setting_of_a_choice_is_a_key(part):
  keys = base.KEYS
  for name in part.split('.'):
    keys = keys[name]
  for name, facts in TABLES[part].items():
    assert {*facts.settings} <= {*keys}, name


def test_every_setting_of_a_mixer_is_a_key():
  keys = traverse_util.flatten_dict(base.KEYS['model'], sep='.')
  for name, facts in MIXERS.items():
    assert {*facts.settings} <= keys.keys(), name


def test_a_list_is_as_good_as_a_tuple():
  config = make()
  config['prefix']['quantiles'] = [*config['prefix']['quantiles']]
  own_settings.check(config)


def test_no_default_is_refused_whatever_is_chosen():
  for part, table in TABLES.items():
    key = 'data.source' if part.startswith('data') else f'{part}.name'
    for name in table:
      own_settings.check(make(**{key: name}))


def test_only_pla_layers_read_how_a_prefix_is_read():
  changes = {'model.mixers': ('la',), 'model.pla.prefix_reader': 'ridge'}
  with pytest.raises(ValueError, match='is a setting of pla layers, but'):
    own_settings.check(make(**changes))
  own_settings.check(make(**changes | {'model.mixers': ('la', 'pla')}))
