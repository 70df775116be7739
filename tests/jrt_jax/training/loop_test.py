"""Whole runs, in this process."""

from concurrent import futures
import dataclasses
import gzip
import json
import math
import os
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jrt_jax.runtime import phases as phases_lib
from jrt_jax.runtime import signals
from jrt_jax.training import checkpoint
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import loop
from jrt_jax.training import program
from jrt_jax.training import run as run_lib

pytestmark = pytest.mark.usefixtures('shared_compilation')

# Compiles fast: no attention, no accumulation.
CHEAP = {'model__mixers': ('conv',), 'microbatch_per_device': 8}


@pytest.fixture(scope='module')
def config(run_config, tokenizer_json, tmp_path_factory):
  """`run_config` with compressed JSON lines and a tokenizer.json."""
  path = tmp_path_factory.mktemp('data') / 'documents.jsonl.gz'
  with gzip.open(path, 'wt') as file:
    for i in range(200):
      document = f'the cat sat on the mat {i} times, a long log.'
      file.write(json.dumps({'id': i, 'body': document}) + '\n')

  def make(**overrides):
    return run_config(
        **{
            'data__source': 'jsonl',
            'data__path': str(path),
            'data__text_key': 'body',
            'data__validation_fraction': 0.1,
            'data__tokenizer': tokenizer_json,
            'prefix__name': 'uniform',
            'mesh__data': 1,
            **overrides,
        }
    )

  return make


def train(
    config,
    workdir,
    change=lambda run: None,
    change_step=lambda step: step,
    probe=None,
):
  """Runs to the end or a signal, which is returned."""
  run = run_lib.Run(config, workdir)
  change(run)
  train_step = change_step(program.compile_step(run))
  return loop.train(run, run.start()[0], train_step, probe=probe)


def metrics(workdir):
  """{step: {name: value}} of training."""
  lines = map(json.loads, (workdir / 'metrics.jsonl').open())
  return {line['step']: line for line in lines if 'loss' in line}


@pytest.fixture(scope='module')
def finished(config, tmp_path_factory):
  """The workdir of a run on one device that nothing disturbed."""
  workdir = tmp_path_factory.mktemp('one_device')
  assert train(config(), workdir) is None
  return workdir


def stop_after(steps):
  """A change that sends SIGTERM when the batch of that step is taken."""

  def change(run):
    batches, count = run.data, 0

    class Data:
      get_state, set_state = batches.get_state, batches.set_state

      def __next__(self):
        nonlocal count
        count += 1
        if count == steps:
          os.kill(os.getpid(), signal.SIGTERM)
        return next(batches)

    run.data = Data()

  return change


needs_8_devices = pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)


@needs_8_devices
@pytest.mark.parametrize(
    'mesh',
    [
        pytest.param(dict(mesh__data=8), marks=pytest.mark.slow),
        dict(mesh__fsdp=4, mesh__tensor=2),
    ],
)
def test_eight_devices_train_as_one_does_which_can_go_on(
    config, finished, tmp_path, mesh
):
  eight = config(**mesh, microbatch_per_device=1)
  assert train(eight, tmp_path, stop_after(3)) == signal.SIGTERM
  assert sorted(metrics(tmp_path)) == [1, 2, 3]
  assert train(config(), tmp_path) is None

  actual, expected = metrics(tmp_path), metrics(finished)
  assert sorted(actual) == sorted(expected) == [1, 2, 3, 4, 5, 6]
  for step in expected:
    for name in ('loss', 'masked_token_loss', 'grad_norm', 'loss_tokens'):
      value = pytest.approx(expected[step][name], rel=1e-4)
      assert actual[step][name] == value, (step, name)
  params, others = (
      checkpoint_reader.load_params(workdir)[0]
      for workdir in (tmp_path, finished)
  )
  for name in others:
    np.testing.assert_allclose(params[name], others[name], atol=1e-5)


class StopAtLook(signals.StopRequest):
  """A signal that comes just before the loop looks for the third time."""

  looks = 0

  @property
  def signal(self):
    self.looks += 1
    return signal.SIGTERM if self.looks >= 3 else None

  @signal.setter
  def signal(self, value):
    pass


def test_the_end_shows_the_result_even_if_a_signal_comes_too_late(
    config, finished, monkeypatch, capsys
):
  monkeypatch.setattr(signals, 'StopRequest', StopAtLook)
  monkeypatch.setattr(StopAtLook, 'looks', 2)
  assert train(config(), finished) is None
  shown = capsys.readouterr().out
  assert 'bits per byte' in shown and '▶' in shown


def test_every_step_that_was_logged_is_saved_before_a_stop(
    config, tmp_path, monkeypatch
):
  monkeypatch.setattr(signals, 'StopRequest', StopAtLook)
  assert train(config(**CHEAP), tmp_path) == signal.SIGTERM
  assert checkpoint_reader.load_params(tmp_path)[1] == max(metrics(tmp_path))


def with_bad_losses(is_bad):
  """A change that makes the loss of some steps, counted from 0, nan."""

  def change(run):
    inner = run.steps.optimizer

    def update(grads, state, params, *, value):
      step = state.accepted + state.skipped
      value = jnp.where(is_bad(step), jnp.nan, value)
      return inner.update(grads, state, params, value=value)

    optimizer = optax.GradientTransformationExtraArgs(inner.init, update)
    run.steps = dataclasses.replace(run.steps, optimizer=optimizer)

  return change


def test_a_step_that_is_not_finite_is_skipped_and_counted(config, tmp_path):
  bad_steps = with_bad_losses(lambda step: (step == 1) | (step == 2))
  assert train(config(**CHEAP), tmp_path, bad_steps) is None
  values = metrics(tmp_path)
  skipped = [values[step]['skipped'] for step in range(1, 7)]
  in_a_row = [values[step]['skipped_in_a_row'] for step in range(1, 7)]
  assert (skipped, in_a_row) == ([0, 1, 2, 2, 2, 2], [0, 1, 2, 0, 0, 0])
  rates = [values[step]['learning_rate'] for step in range(1, 7)]
  assert rates[0] == rates[1] == rates[2] < rates[3]  # time stood still


def test_a_run_gives_up_after_bad_steps_in_a_row(config, tmp_path):
  def with_nan(run):
    run.steps = dataclasses.replace(run.steps, mlm_weight=math.nan)

  impatient = config(
      **CHEAP | {'prefix__name': 'fixed'},  # every batch has masked tokens
      optimizer__max_bad_steps=3,
  )
  with pytest.raises(loop.Diverged, match='last 3 steps, 1 to 3, were skipped'):
    train(impatient, tmp_path, with_nan)
  values = metrics(tmp_path)
  assert sorted(values) == [1, 2, 3]
  assert values[3]['loss'] is None and values[3]['skipped'] == 3


def ruining(step):
  """A train step after whose third call a weight is not finite."""

  def ruined(state, batch):
    state, metrics = step(state, batch)
    if int(state.step) == 3:
      name = 'embedding.embedding'
      weights = state.params[name].at[0, 0].set(math.nan)
      state.params[name] = jax.device_put(weights, state.params[name].sharding)
    return state, metrics

  return ruined


def test_ruined_weights_end_a_run_which_goes_back_to_the_last_good_ones(
    config, tmp_path
):
  often = config(**CHEAP, checkpoint_every=2)
  message = 'step 4 are not .* from step 2$'
  with pytest.raises(checkpoint.NotSaved, match=message):
    train(often, tmp_path, change_step=ruining)
  assert checkpoint_reader.load_params(tmp_path)[1] == 2
  assert train(often, tmp_path) is None
  assert [metrics(tmp_path)[step]['skipped'] for step in (2, 4, 6)] == [0, 0, 0]


def test_what_is_due_is_saved_before_an_evaluation_which_is_made_up_for(
    config, tmp_path
):
  often = config(**CHEAP, checkpoint_every=2, eval_every=2)

  def fail(run):
    run.evaluation.run = lambda *_: 1 / 0

  with pytest.raises(ZeroDivisionError):
    train(often, tmp_path, fail)
  assert checkpoint_reader.load_params(tmp_path)[1] == 2
  assert train(often, tmp_path) is None
  lines = map(json.loads, (tmp_path / 'metrics.jsonl').open())
  evaluated = [x['step'] for x in lines if 'held_out/next_token_loss' in x]
  assert evaluated == [2, 4, 6]


PROBED = {**CHEAP, 'probes__every': 2, 'checkpoint_every': 3}


def asked(workdir):
  """{step: what the probe has found} as it was logged, and how often."""
  lines = [*map(json.loads, (workdir / 'metrics.jsonl').open())]
  found = [(x['step'], x['probe/a']) for x in lines if 'probe/a' in x]
  assert len(dict(found)) == len(found)
  return dict(found)


def mean_weight(params):
  """A probe, whose answer tells weights apart."""
  (device,) = params['embedding.embedding'].devices()
  assert device == jax.local_devices()[0]
  return {'a': float(jnp.abs(params['embedding.embedding']).mean())}


@pytest.fixture(scope='module')
def not_probed(config, tmp_path_factory):
  """The weights of a run that was never probed."""
  workdir = tmp_path_factory.mktemp('not_probed')
  assert train(config(**PROBED), workdir) is None
  assert not asked(workdir)
  return checkpoint_reader.load_params(workdir)[0]


def assert_same_weights(workdir, expected):
  params, _ = checkpoint_reader.load_params(workdir)
  assert params.keys() == expected.keys()
  for name in expected:
    np.testing.assert_array_equal(params[name], expected[name])


@pytest.fixture(scope='module')
def probed(config, tmp_path_factory):
  """The workdir of a run that was probed."""
  workdir = tmp_path_factory.mktemp('probed')
  assert train(config(**PROBED), workdir, probe=mean_weight) is None
  return workdir


def test_probes_are_logged_and_change_no_weight(not_probed, probed):
  found = asked(probed)
  assert sorted(found) == [2, 4, 6] and len({*found.values()}) == 3
  assert found[6] == mean_weight(not_probed)['a']
  assert_same_weights(probed, not_probed)


def test_a_run_that_was_stopped_is_probed_as_one_that_was_not(
    config, not_probed, probed, tmp_path
):
  settings = config(**PROBED)
  stopped = train(settings, tmp_path, stop_after(3), probe=mean_weight)
  assert stopped == signal.SIGTERM
  assert train(settings, tmp_path, probe=mean_weight) is None
  assert asked(tmp_path) == asked(probed)
  assert_same_weights(tmp_path, not_probed)


def test_a_probe_that_a_kill_has_prevented_is_made_up_for(config, tmp_path):
  def kill(params):
    raise KeyboardInterrupt

  often = config(**PROBED | {'checkpoint_every': 2})
  with pytest.raises(KeyboardInterrupt):
    train(often, tmp_path, probe=kill)
  assert train(often, tmp_path, probe=mean_weight) is None
  assert sorted(asked(tmp_path)) == [2, 4, 6]


def test_a_probe_that_fails_is_told_once_and_ends_nothing(
    config, not_probed, tmp_path, capsys
):
  calls = []

  def fail(params):
    calls.append(params)
    raise RuntimeError('out of memory:\n a long list')

  assert train(config(**PROBED), tmp_path, probe=fail) is None
  line = 'probing failed and is turned off: RuntimeError: out of'
  assert (
      capsys.readouterr().err.count(f'step 2: {line} memory: a long list') == 1
  )
  assert len(calls) == 1 and not asked(tmp_path)
  assert_same_weights(tmp_path, not_probed)


@needs_8_devices
@pytest.mark.slow
def test_a_probe_finds_the_weights_of_a_mesh_on_one_device(config, tmp_path):
  divided = config(**PROBED | {'mesh__fsdp': 4, 'mesh__data': 2, 'steps': 2})
  assert train(divided, tmp_path, probe=mean_weight) is None
  params = checkpoint_reader.load_params(tmp_path)[0]
  expected = float(np.abs(np.asarray(params['embedding.embedding'])).mean())
  assert asked(tmp_path)[2] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ('end_of_step', 'idle'),
    [(99.0, 1.0), (100.9, 0.1), (None, 0.0)],
    ids=['before the wait', 'during the wait', 'after the wait'],
)
def test_devices_are_idle_from_the_end_of_a_step_to_the_next_batch(
    end_of_step, idle
):
  clock = types.SimpleNamespace(now=100.0)
  phases = phases_lib.Phases(now=lambda: clock.now)

  def batches():
    clock.now += 1
    yield 'a batch'

  run = types.SimpleNamespace(data=batches())
  finished = futures.Future()
  if end_of_step:
    finished.set_result(end_of_step)
  waiting = types.SimpleNamespace(_phases=phases, _run=run)
  assert loop._Loop._next_batch(waiting, finished) == 'a batch'
  assert phases.idle == pytest.approx(idle)
