import json

from hypothesis import given
from hypothesis import strategies as st

from configs import base
from jrt_jax import builtin_models
from jrt_jax.training import recorded_config

WHOLE = recorded_config.flat(base.get_config().to_dict())


@given(st.sets(st.sampled_from(sorted(WHOLE))))
def test_a_config_without_any_of_its_keys_is_completed(lost):
  kept = {key: WHOLE[key] for key in WHOLE if key not in lost}
  completed = recorded_config.complete(recorded_config.nested(kept))
  assert recorded_config.flat(completed) == WHOLE


def test_completing_keeps_what_is_there():
  completed = recorded_config.complete({'model': {'width': 3, 'colour': 'red'}})
  assert completed['model']['width'] == 3
  assert completed['model']['colour'] == 'red'


def test_configs_of_built_in_models_lack_no_key(capsys):
  for name in builtin_models.names():
    recorded_config.read(builtin_models.FOLDER / name / 'config.json')
  assert not capsys.readouterr().err


def test_tuples_are_what_json_makes_of_them():
  assert recorded_config.flat({'a': {'b': (1, 2)}}) == {'a.b': [1, 2]}


def test_what_a_model_changes_does_not_depend_on_keys_with_defaults():
  model = base.get_config().model.to_dict()
  assert not recorded_config.model_changes(model)
  changed = json.loads(json.dumps({**model, 'width': 3}))
  assert recorded_config.model_changes(changed) == {'width': 3}
  del changed['remat'], changed['feature_map']['name']
  assert recorded_config.model_changes(changed) == {'width': 3}


def test_a_normalizer_with_two_names_is_the_same_for_one_map_only():
  model = base.get_config().model.to_dict()
  assert not recorded_config.model_changes({**model, 'normalizer': 'auto'})
  assert not recorded_config.model_changes({**model, 'normalizer': 'sum'})
  model['feature_map'] = {**model['feature_map'], 'name': 'linear'}
  auto, total = (
      recorded_config.model_changes({**model, 'normalizer': normalizer})
      for normalizer in ('auto', 'sum')
  )
  assert auto != total


def test_runs_that_differ_in_their_seeds_alone_are_told_from_others():
  first = base.get_config().to_dict()
  moved = {**first['data'], 'path': 'elsewhere'}
  identity = recorded_config.identity
  same = identity({**first, 'seed': 5, 'data': moved})
  assert same['seed'] == 5 and same['mixers'] == list(first['model']['mixers'])
  assert same['but_seed'] == identity(first)['but_seed']
  longer = identity({**first, 'steps': 7})
  assert longer['but_seed'] != same['but_seed']


def test_a_later_key_changes_a_run_only_if_it_is_set():
  config = base.get_config()
  first = config.to_dict()
  before = {**first, 'model': {**first['model']}}
  del before['model']['pla']
  identity = recorded_config.identity
  assert identity(before) == identity(first)
  config.model.pla.prefix_reader = 'ridge'
  assert identity(config.to_dict()) != identity(first)


def test_settings_of_mixers_that_a_run_lacks_are_no_part_of_it(
    capsys, tmp_path
):
  """Or every new mixer would make other runs of all that were recorded."""
  config = base.get_config().to_dict()
  before = {**config, 'model': {**config['model']}}
  del before['model']['gdn']
  assert recorded_config.identity(before) == recorded_config.identity(config)
  file = tmp_path / 'config.json'
  file.write_text(json.dumps(before))
  assert recorded_config.read(file)['model']['gdn'] == config['model']['gdn']
  assert not capsys.readouterr().err
  before['model']['mixers'] = ['gdn']
  file.write_text(json.dumps(before))
  recorded_config.read(file)
  assert 'lacks model.gdn.conv_kernel' in capsys.readouterr().err
  mixers = {**config['model'], 'mixers': ['gdn']}
  without = {**mixers, 'gdn': {**mixers['gdn']}}
  del without['gdn']['prefix_passes']  # of another mixer with the same keys
  assert recorded_config.identity(
      {**config, 'model': without}
  ) == recorded_config.identity({**config, 'model': mixers})
