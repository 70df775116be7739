import jax
import numpy as np
import pytest

from configs import recorded
from jrt_jax import models
from jrt_jax.training import compact
from jrt_jax.training import run as run_lib
from jrt_jax.training import workdirs

pytestmark = pytest.mark.usefixtures('shared_compilation')


def test_weights_of_another_model_start_a_run_with_their_own_config(
    config, tmp_path
):
  settings = config(model__vocab_multiple=1, sequence_length=8)
  params = models.split(models.build(settings['model']))[1]
  workdirs.write(tmp_path / 'released', settings, params, origin='a test')
  other = config(init_from=str(tmp_path / 'released'))
  with run_lib.Run(other, tmp_path / 'other') as run:
    with pytest.raises(ValueError, match=f'--from={tmp_path}/released in pl'):
      run.start()
  own = recorded.get_config(str(tmp_path / 'released')).to_dict()
  with run_lib.Run(own, tmp_path / 'own') as run:
    state, origin = run.start()
  assert origin == f'weights of step 0 in {tmp_path}/released'
  np.testing.assert_array_equal(
      state.params['embedding.embedding'], params['embedding.embedding']
  )


@pytest.mark.parametrize('is_compact', [False, True])
def test_a_model_starts_from_its_causal_twin_with_new_weights_for_the_prefix(
    config, tmp_path, is_compact
):
  mixers = ('conv', 'la')
  causal = config(model__mixers=mixers)
  params = models.split(models.build(causal['model'], seed=3))[1]
  folder = tmp_path / 'causal'
  if is_compact:
    folder.mkdir()
    compact.write(folder, causal, params, step=5, data='')
  else:
    workdirs.write(folder, causal, params, origin='a test')
  changes = {'init_from': str(folder), 'model__mixers': ('conv', 'pla')}
  with run_lib.Run(config(**changes), tmp_path / 'other') as run:
    with pytest.raises(ValueError, match='2 parameters differ, .*proj_k_enc'):
      run.start()
  with run_lib.Run(config(**changes, init_new=True), tmp_path / 'more') as run:
    state, origin = run.start()
  new = {*state.params} - {*params}
  first = 'layers.1.mixer.proj_k_enc.kernel'
  assert sorted(new) == [first, 'layers.1.mixer.proj_v_enc.kernel']
  assert origin.endswith(
      f'{folder} and new weights of seed 0 for 2 parameters such as {first}'
  )
  for name, x in params.items():
    np.testing.assert_allclose(state.params[name], x, rtol=2**-8, err_msg=name)
  assert all(np.std(state.params[name]) > 0 for name in new)


def test_weights_that_the_model_has_no_place_for_are_refused(config, tmp_path):
  other = config(model__mixers=('conv', 'pla'))
  params = models.split(models.build(other['model']))[1]
  workdirs.write(tmp_path / 'pla', other, params, origin='a test')
  causal = config(
      model__mixers=('conv', 'la'),
      init_from=str(tmp_path / 'pla'),
      init_new=True,
  )
  with run_lib.Run(causal, tmp_path / 'la') as run:
    with pytest.raises(ValueError, match='proj_k_enc.* wanted not at all'):
      run.start()


@pytest.mark.parametrize('mesh', [{}, {'mesh__fsdp': 2}])
def test_a_compact_run_starts_another_with_a_fresh_optimizer(
    config, tmp_path, compact_run, mesh
):
  folder, params = compact_run
  settings = config(
      init_from=str(folder), model__vocab_multiple=1, mesh__data=1, **mesh
  )
  with run_lib.Run(settings, tmp_path / 'further') as run:
    state, origin = run.start()
    wanted = run.abstract_state()
  assert origin == f'weights of step 5 in {folder}'
  assert state.params.keys() == params.keys()
  for name, x in params.items():
    np.testing.assert_allclose(state.params[name], x, rtol=2**-8, err_msg=name)
    assert state.params[name].sharding == wanted.params[name].sharding
  assert int(state.step) == 0
  assert not any(x.any() for x in jax.tree.leaves(state.opt_state) if x.ndim)


def test_a_compact_run_of_another_model_says_how_to_take_it(
    config, tmp_path, compact_run
):
  folder, _ = compact_run
  other = config(init_from=str(folder), model__width=16)
  with run_lib.Run(other, tmp_path / 'other') as run:
    with pytest.raises(ValueError, match=f'another model.*--from={folder} in'):
      run.start()
