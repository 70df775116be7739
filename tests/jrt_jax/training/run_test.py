import json
import re
import shutil
import types
from unittest import mock

import jax
import numpy as np
import pytest

from configs import recorded
from jrt_jax import models
from jrt_jax.runtime import sharding
from jrt_jax.training import abstract
from jrt_jax.training import kernels
from jrt_jax.training import run as run_lib
from jrt_jax.training import run_kernels
from jrt_jax.training import train_state
from jrt_jax.training import workdirs

pytestmark = pytest.mark.usefixtures('shared_compilation')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(steps=0),
            'config.steps must be a whole number from 1 to .* got 0',
        ),
        (
            dict(optimizer__max_bad_steps=0),
            'config.optimizer.max_bad_steps must be .* from 1 to .* got 0',
        ),
        *(
            (
                dict(model__implementation=name),
                'implementation must be auto, chunked or reference on cpu'
                f' devices, which are not Hopper GPUs, got {name}$',
            )
            for name in ('mosaic_sm90', 'mosaic_sm90_or_chunked')
        ),
        (
            dict(objective__name='next_token'),
            "config.objective.name='next_token' needs config.prefix.name='none'",
        ),
        (
            dict(prefix__name='entropy', data__packing='documents'),
            "config.prefix.name must not be 'entropy' with config.data.packing",
        ),
        (
            dict(
                data__packing='prefixed_documents',
                model__normalizer='output_rms',
                model__pla__prefix_reader='ridge',
            ),
            "config.model.pla.prefix_reader must be 'sum' with config.data.pac",
        ),
        (
            dict(
                data__packing='prefixed_documents',
                model__pla__causal_in_prefix=False,
            ),
            'config.model.pla.causal_in_prefix must be True with config.data.p',
        ),
        (
            dict(data__documents_in_prefix=5),
            'config.data.documents_in_prefix must be at most 4, so that .* 5$',
        ),
        (
            dict(prefix__name='entropy', data__source='mqar'),
            "prefix.name must be none or .* with config.data.source='mqar'",
        ),
        (
            dict(data__source='needle', data__synthetic__num_ids=9),
            'config.data.synthetic.num_ids must leave 8 keys',
        ),
        (
            dict(data__validation_fraction=0.003),
            'held-out data must have at least 8 windows of 17 tokens',
        ),
    ],
)
def test_a_wrong_config_leaves_no_workdir_behind(
    config, tmp_path, changes, message
):
  with pytest.raises(ValueError, match=message):
    run_lib.Run(config(mesh__data=2, **changes), tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['mosaic_sm90', 'mosaic_sm90_or_chunked'])
def test_kernels_are_refused_on_all_but_hopper_gpus(
    config, tmp_path, monkeypatch, name
):
  def start_on(kind, capability):
    device = types.SimpleNamespace(
        platform='gpu', device_kind=kind, compute_capability=capability
    )
    layout = dict.fromkeys(sharding.AXES, 1)
    mesh = types.SimpleNamespace(devices=np.array([device]), shape=layout)
    monkeypatch.setattr(sharding, 'make_mesh', lambda _: mesh)
    # What comes next needs a mesh that is real.
    monkeypatch.setattr(train_state, 'Steps', mock.Mock(side_effect=KeyError))
    run_lib.Run(config(model__implementation=name), tmp_path)

  for kind, capability in {'A100': '8.0', 'B200': '10.0'}.items():
    message = f'or reference on {kind} devices, which are not Hopper.* {name}$'
    with pytest.raises(ValueError, match=message):
      start_on(kind, capability)
  with pytest.raises(KeyError):
    start_on('H100', '9.0')


def test_questions_that_are_drawn_are_data(run_config, tmp_path):
  settings = run_config(
      data__source='needle',
      data__synthetic__sizes=(2, 3),
      data__synthetic__num_ids=12,
      model__vocab_size=1,
  )
  with run_lib.Run(settings, tmp_path) as run:
    model = run.config['model']
    assert (model['vocab_size'], model['mask_id']) == (13, 12)
    plan = ' '.join(run.plan().split())
    assert 'needle: samples are drawn; the tokenizer has 12 ids' in plan
    assert 'epochs' not in run.plan()
    assert 7 <= run.mean_prefix <= 8  # prompts have 7 or 9; there is room for 8
    state, _ = run.start()
    assert run.sample(state.params) is None
    first = next(run.data)
    run.checkpoints.save(0, state, run.place())
    expected = next(run.data)
  with run_lib.Run(settings, tmp_path) as run:
    run.start()
    for name, x in next(run.data).items():
      np.testing.assert_array_equal(x, expected[name])
      assert name == 'prefix_len' or not np.array_equal(x, first[name])


def test_a_run_that_saved_nothing_can_start_anew_with_another_config(
    config, tmp_path
):
  with run_lib.Run(config(init_from='missing'), tmp_path) as run:
    with pytest.raises(FileNotFoundError):
      run.start()
  with run_lib.Run(config(model__width=16), tmp_path) as run:
    state, origin = run.start()
    assert origin == 'new weights of seed 0'
    run.checkpoints.save(0, state, run.place())
  with pytest.raises(ValueError, match='another model'):
    run_lib.Run(config(), tmp_path)


def test_what_computes_linear_attention_is_kept_once_a_run_has_begun(
    config, tmp_path
):
  first, second = (kernels.Choice('chunked', f'GPU {i} hangs') for i in (1, 2))
  for choice in (first, second):  # the first has saved nothing
    with run_lib.Run(config(), tmp_path, choice=choice) as run:
      assert run.model['implementation'] == 'chunked'
      assert run.config['model']['implementation'] == 'auto'
      assert run_kernels.read(tmp_path) == choice
      state, _ = run.start()
  with run_lib.Run(config(), tmp_path, choice=second) as run:
    run.checkpoints.save(0, state, run.place())
  with run_lib.Run(config(), tmp_path, choice=first):
    assert run_kernels.read(tmp_path) == second


def test_what_nobody_could_answer_is_recorded_again_once_somebody_can(
    config, tmp_path
):
  hung = kernels.Choice('chunked', 'the GPU hangs', unanswered=True)
  answer = kernels.Choice('chunked', 'the kernels are wrong')
  with run_lib.Run(config(), tmp_path, choice=hung) as run:
    run.checkpoints.save(0, run.start()[0], run.place())
  for choice, expected in (
      (hung._replace(reason='it hung again'), hung),
      (answer, answer),
      (hung, answer),
  ):
    with run_lib.Run(config(), tmp_path, choice=choice):
      assert run_kernels.read(tmp_path) == expected


def test_a_cpu_computes_in_float32_and_the_record_keeps_what_was_asked(
    config, tmp_path
):
  with run_lib.Run(config(model__dtype='bfloat16'), tmp_path) as run:
    assert run.model['dtype'] == 'float32'
    assert run.config['model']['dtype'] == 'bfloat16'
    recorded = json.loads((tmp_path / 'config.json').read_text())
    assert recorded['model']['dtype'] == 'bfloat16'
    state, batch = run.abstract_state(), abstract.batch(run.config, run.mesh)
    with jax.set_mesh(run.mesh):
      step = jax.make_jaxpr(run.steps.train)(state, batch)
  assert 'bf16' not in str(step)


def test_a_run_without_a_choice_forgets_that_of_one_before_it(config, tmp_path):
  run_kernels.record(tmp_path, kernels.Choice('chunked', 'the GPU hangs'))
  with run_lib.Run(config(), tmp_path) as run:
    assert run.model == run.config['model']
  assert not (tmp_path / 'kernels.json').exists()


def test_a_compact_run_is_not_continued_and_stays_as_it_is(
    config, tmp_path, compact_run
):
  folder, _ = compact_run
  before = {file.name: file.read_bytes() for file in folder.iterdir()}
  own = recorded.get_config(str(folder / 'config.json')).to_dict()
  own['data']['path'] = config()['data']['path']
  with pytest.raises(ValueError, match=f'weights only: .*--from={folder} and'):
    run_lib.Run(own, folder)
  assert before == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_run_continues_by_its_own_config_without_that_which_it_is_from(
    config, tmp_path
):
  first, second = tmp_path / 'first', tmp_path / 'second'
  settings = config(prefix__name='entropy')
  params = models.split(models.build(settings['model']))[1]
  workdirs.write(first, settings, params, origin='a test')
  with run_lib.Run(recorded.get_config(str(first)).to_dict(), second) as run:
    state, _ = run.start()
    run.checkpoints.save(3, state, run.place())
  shutil.rmtree(first)
  own = recorded.get_config(str(second / 'config.json')).to_dict()
  with run_lib.Run(own, second) as run:
    assert run.start()[1].startswith('resuming from step')
  with run_lib.Run(own, tmp_path / 'again') as run:
    with pytest.raises(FileNotFoundError, match=f'config.init_from: .*{first}'):
      run.start()


def test_a_continued_run_keeps_the_policy_that_it_began_with(config, tmp_path):
  settings = config(prefix__name='entropy')
  with run_lib.Run(settings, tmp_path) as run:
    state, _ = run.start()
    run.checkpoints.save(0, state, run.place())
  record = tmp_path / 'config.json'
  began = json.loads(record.read_text())
  began['prefix']['fitted']['thresholds'] = [0.125, 0.25]  # of another numpy
  record.write_text(json.dumps(began))
  with run_lib.Run(settings, tmp_path) as run:
    assert run.config['prefix']['fitted']['thresholds'] == [0.125, 0.25]


def test_a_run_of_an_earlier_version_continues(config, tmp_path, capsys):
  settings = config(prefix__name='entropy')
  with run_lib.Run(settings, tmp_path) as run:
    state, _ = run.start()
    run.checkpoints.save(0, state, run.place())
  record = tmp_path / 'config.json'
  now = json.loads(record.read_text())
  old = json.loads(record.read_text())
  del old['model']['feature_map']['order'], old['prefix']['multiple']
  old['model']['normalizer'] = 'sum'  # what auto is here
  old['prefix']['fitted']['thresholds'] = [0.125, 0.25]  # must not be refitted
  record.write_text(json.dumps(old))
  with run_lib.Run(settings, tmp_path) as run:
    assert run.start()[1].startswith('resuming from step 0')
    assert run.config['prefix']['fitted']['thresholds'] == [0.125, 0.25]
  said = capsys.readouterr().err
  assert said.count('model.feature_map.order, prefix.multiple: the') == 1
  now['prefix']['fitted']['thresholds'] = [0.125, 0.25]
  assert json.loads(record.read_text()) == now
  record.write_text(json.dumps(old))
  with pytest.raises(ValueError, match='prefix.multiple: 1 → 2'):
    run_lib.Run(config(prefix__name='entropy', prefix__multiple=2), tmp_path)


def test_other_data_are_refused_where_a_run_would_continue(config, tmp_path):
  workdir, text = tmp_path / 'run', tmp_path / 'text.txt'
  text.write_text('the dog lay on the log; ' * 1000)
  settings = config(data__path=str(text))
  with run_lib.Run(settings, workdir) as run:
    state, _ = run.start()
    run.checkpoints.save(0, state, run.place())
  text.write_text('the cow ran on the log; ' * 1000)
  with run_lib.Run(settings, workdir) as run:
    with pytest.raises(
        ValueError, match='config.data must be what .*init_from'
    ):
      run.start()


def test_a_run_reads_a_mixture_and_refuses_another(run_config, tmp_path):
  words = {'cats': 'the cat sat on the mat; ', 'dogs': 'a dog lay down, '}
  for name, text in words.items():
    (tmp_path / f'{name}.txt').write_text(text * 1000)
  cats, dogs = (str(tmp_path / f'{name}.txt') for name in words)
  workdir = tmp_path / 'run'

  def run(*mixture):
    changes = {'data__mixture': mixture, 'prefix__name': 'entropy'}
    return run_lib.Run(run_config(**changes), workdir, allow_config_change=True)

  with run((cats, 3), (dogs, 1)) as first:
    state, _ = first.start()
    of_dogs = [(next(first.data)['tokens'] == ord('g')).any(1) for _ in 'abc']
    assert np.sum(of_dogs) == 3 * 8 / 4
    plan = first.plan()
    assert re.search(r'from cats.txt +75.0% = 576 tokens', plan)
    metrics = first.evaluation.run(jax.jit(first.steps.evaluate), state.params)
    assert {'bits_per_byte', 'dogs.txt/bits_per_byte'} <= metrics.keys()
    first.checkpoints.save(0, state, first.place())
    after = next(first.data)['tokens']
  with run((cats, 3), (dogs, 1)) as again:
    again.start()
    np.testing.assert_array_equal(next(again.data)['tokens'], after)
  for other in (((dogs, 1), (cats, 3)), ((cats, 2), (dogs, 1)), ((cats, 1),)):
    with run(*other) as changed:
      with pytest.raises(ValueError, match='config.data must be what .*init_'):
        changed.start()


def test_a_second_run_in_a_workdir_is_refused_until_the_first_ends(
    config, tmp_path
):
  with run_lib.Run(config(), tmp_path):
    with pytest.raises(ValueError, match='in use by another process'):
      run_lib.Run(config(steps=5), tmp_path)
  with run_lib.Run(config(), tmp_path) as run:
    assert run.start()[1] == 'new weights of seed 0'
