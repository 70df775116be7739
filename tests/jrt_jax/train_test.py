"""The command `python -m jrt_jax.train`, run as a user runs it."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from jrt_jax.training import checkpoint_reader

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 12  # of the runs that `start` starts


@pytest.fixture(scope='module')
def finished(start, tmp_path_factory):
  """The workdir and the output of a run that nothing disturbed."""
  workdir = tmp_path_factory.mktemp('finished')
  output, errors = start(workdir).communicate()
  assert 'held-out text' in output, errors
  return workdir, output


def metrics(workdir):
  """{(step, name): value} of all that does not depend on the clock."""
  clock = 'seconds', 'per_second', 'memory', 'mfu', 'goodput', 'process'
  values = {}
  for line in (workdir / 'metrics.jsonl').read_text().splitlines():
    record = json.loads(line)
    for name, value in record.items():
      if not name.endswith(clock):
        assert (record['step'], name) not in values or name == 'step'
        values[record['step'], name] = value
  return values


def assert_same_run(workdir, other):
  assert metrics(workdir) == metrics(other)
  params, step = checkpoint_reader.load_params(workdir)
  others, other_step = checkpoint_reader.load_params(other)
  assert step == other_step == STEPS
  for name in others:
    np.testing.assert_array_equal(params[name], others[name], err_msg=name)


@pytest.fixture
def unfinished(finished, tmp_path):
  """A copy of that run without its last checkpoint."""
  workdir = shutil.copytree(finished[0], tmp_path / 'unfinished')
  shutil.rmtree(workdir / 'checkpoints' / str(STEPS))
  return workdir


def test_a_run_learns_and_leaves_its_config_metrics_and_checkpoints(finished):
  workdir, output = finished
  assert json.loads((workdir / 'config.json').read_text())['steps'] == STEPS
  values = metrics(workdir)
  assert values[1, 'loss'] == pytest.approx(1.25 * np.log(258), rel=0.02)
  assert values[STEPS, 'loss'] < 0.95 * values[1, 'loss']
  assert values[STEPS, 'skipped'] == 0
  steps = {p.name for p in (workdir / 'checkpoints').iterdir()}
  assert steps == {'6', '9', '12'}
  for fact in ('bits per byte', 'bigram', 'masked-token accuracy', 'tokens/s'):
    assert fact in output
  assert 'prefix_linear_attention runs chunked, not mosaic_sm90: ' in output


@pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)
def test_another_process_finds_out_whether_kernels_are_right_on_a_hopper_gpu(
    start, tmp_path
):
  command = tmp_path / 'nvidia-smi'
  command.write_text(
      '#!/bin/sh\necho "NVIDIA H100 PCIe, 9.0, 580.1, Disabled"\n'
  )
  command.chmod(0o755)
  model = {'width': 64, 'num_heads': 1, 'dtype': 'bfloat16'}
  model['feature_map.feature_dim'] = 16
  run = start(
      tmp_path / 'run',
      env={
          'JAX_PLATFORMS': '',
          'CUDA_VISIBLE_DEVICES': 'GPU-0',  # there is none of this name
          'PATH': f'{tmp_path}:{os.environ["PATH"]}',
          'XDG_CACHE_HOME': str(tmp_path / 'caches'),
      },
      batch_size=3,  # which ends it before it compiles
      **{f'model.{key}': x for key, x in model.items()},
  )
  output, errors = run.communicate()
  assert output.startswith(
      'linear attention: chunked, because the kernels may not run on NVIDIA'
      ' H100 PCIe: jax finds no GPU\n'
  ), errors
  assert errors.startswith('checking the Hopper kernels on NVIDIA H100 PCIe')
  assert 'config.batch_size must be' in errors.splitlines()[-1]


@pytest.mark.slow
def test_probes_change_nothing_but_what_is_logged(start, finished, tmp_path):
  probes = {'probes__every': 5, 'probes__count': 2, 'probes__pairs': 2}
  _, errors = start(tmp_path, **probes).communicate()
  found = metrics(tmp_path)
  probed = {key for key in found if key[1].startswith('probe/')}
  assert {step for step, _ in probed} == {5, 10, STEPS}, errors
  kinds = [f'recall_{x}' for x in ('default', 'twice', 'chance')]
  kinds += ['answer_loss_default', 'answer_loss_twice']
  assert {name for _, name in probed} == {f'probe/{kind}' for kind in kinds}
  others = {key: x for key, x in found.items() if key not in probed}
  assert others == metrics(finished[0])
  params, expected = (
      checkpoint_reader.load_params(workdir)[0]
      for workdir in (tmp_path, finished[0])
  )
  for name in expected:
    np.testing.assert_array_equal(params[name], expected[name], err_msg=name)


def test_the_command_of_a_finished_run_shows_its_result_at_once(
    start, finished
):
  workdir, output = finished
  before = metrics(workdir)
  process = start(workdir)
  again, errors = process.communicate()
  assert process.returncode == 0
  assert metrics(workdir) == before
  assert 'compiled' not in errors
  result = output.index('held-out text')
  assert again.endswith(output[result:])


def test_a_run_terminated_and_then_killed_ends_as_if_it_had_not_been(
    start, wait_for_step, finished, tmp_path
):
  process = start(tmp_path)
  wait_for_step(tmp_path, 4, process)
  process.terminate()
  output, errors = process.communicate()
  assert process.returncode == 128 + signal.SIGTERM
  assert 'the same command continues' in output + errors
  stopped_at = max(step for step, _ in metrics(tmp_path))
  assert checkpoint_reader.load_params(tmp_path)[1] == stopped_at < STEPS
  process = start(tmp_path)
  wait_for_step(tmp_path, 8, process)
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  output, _ = start(tmp_path).communicate()
  resumed_at = re.search(r'resuming from step (\d+)', output)[1]
  assert stopped_at <= int(resumed_at) < STEPS
  assert_same_run(tmp_path, finished[0])


@pytest.mark.slow
@pytest.mark.parametrize('is_changed', [False, True])
def test_a_run_is_verified_and_what_is_not_the_same_is_told(
    finished, run_command, tmp_path, is_changed
):
  workdir = shutil.copytree(finished[0], tmp_path / 'run')
  flags = '--xla_backend_optimization_level=0'  # as `start`
  if is_changed:
    config = workdir / 'config.json'
    config.write_text(config.read_text().replace('"b1": 0.9,', '"b1": 0.8,'))
    flags += ' --xla_cpu_enable_fast_math=false'
  done = run_command(
      'jrt_jax.verify_resume', f'--workdir={workdir}', XLA_FLAGS=flags
  )
  assert done.returncode == is_changed, done.stderr
  assert 'steps 10 to 12' in done.stdout
  if not is_changed:
    assert '\nbit-exact: ' in done.stdout
    return
  assert 'not bit-exact: ' in done.stdout and 'more' in done.stdout
  assert 'loss of step 12' in done.stdout
  assert 'note: XLA_FLAGS was' in done.stdout


@pytest.mark.slow
def test_a_run_of_muon_that_is_killed_ends_as_if_it_had_not_been(
    start, wait_for_step, error_line, tmp_path
):
  muon = {'optimizer__name': 'muon'}
  start(tmp_path / 'finished', **muon).communicate()
  process = start(tmp_path / 'killed', **muon)
  wait_for_step(tmp_path / 'killed', 7, process)
  process.kill()
  process.communicate()
  refused = start(tmp_path / 'killed', '--allow_config_change')
  _, errors = refused.communicate()
  assert refused.returncode == 2
  assert 'has a run with another optimizer' in error_line(
      errors.removesuffix('optimizer.name: "muon" → "adamw"\n')
  )
  output, _ = start(tmp_path / 'killed', **muon).communicate()
  assert 'resuming from step' in output
  assert_same_run(tmp_path / 'killed', tmp_path / 'finished')


@pytest.mark.slow
def test_a_run_on_drawn_questions_that_is_killed_ends_as_if_it_had_not_been(
    start, wait_for_step, tmp_path
):
  task = dict(
      config='configs/synthetic.py:selective_recall',
      data__source='selective_recall',
      data__path='',
      data__synthetic__sizes='(2, 4, 6)',
      data__synthetic__curriculum='cumulative',
      data__synthetic__stage_steps='(4, 4)',
      prefix__name='full',
  )
  output, errors = start(tmp_path / 'finished', **task).communicate()
  assert 'answer accuracy' in output, errors
  assert '  size 6' in output and 'bits per byte' not in output + errors
  process = start(tmp_path / 'killed', **task)
  wait_for_step(tmp_path / 'killed', 7, process)
  process.kill()
  process.communicate()
  output, _ = start(tmp_path / 'killed', **task).communicate()
  assert 'resuming from step' in output
  assert_same_run(tmp_path / 'killed', tmp_path / 'finished')


@pytest.mark.slow  # training/checkpoint_test.py has which one is taken
def test_a_truncated_checkpoint_is_set_aside_for_the_one_before(
    start, finished, unfinished
):
  largest = max(
      (p for p in (unfinished / 'checkpoints' / '9').rglob('*') if p.is_file()),
      key=lambda p: p.stat().st_size,
  )
  os.truncate(largest, largest.stat().st_size // 2)
  output, errors = start(unfinished).communicate()
  assert '9 is damaged' in errors
  assert 'resuming from step 6' in output
  assert_same_run(unfinished, finished[0])


@pytest.mark.slow  # training/first_weights_test.py has which weights these are
def test_weights_of_another_run_start_a_new_one(start, finished, tmp_path):
  output, _ = start(tmp_path, init_from=finished[0]).communicate()
  assert f'weights of step {STEPS}' in output
  new, old = metrics(tmp_path), metrics(finished[0])
  assert new[1, 'loss'] < old[1, 'loss'] - 0.1
  assert new[1, 'learning_rate'] == old[1, 'learning_rate']


def test_another_config_is_refused_with_what_differs(start, finished):
  process = start(finished[0], optimizer__peak_lr=0.5)
  _, errors = process.communicate()
  assert process.returncode == 2
  assert 'error: ' in errors and '--allow_config_change' in errors
  assert 'optimizer.peak_lr: 0.003 → 0.5' in errors
  assert 'Traceback' not in errors


@pytest.mark.slow  # training/run_workdir_test.py has what it leaves
def test_a_run_goes_on_with_another_config_if_allowed(start, unfinished):
  process = start(unfinished, '--allow_config_change', log_every=2)
  output, _ = process.communicate()
  assert process.returncode == 0
  assert 'resuming from step 9' in output
  assert checkpoint_reader.load_params(unfinished)[1] == STEPS
  for name, value in ('config.1.json', 1), ('config.json', 2):
    assert json.loads((unfinished / name).read_text())['log_every'] == value


MISTAKES = {
    'mistyped key': (dict(stpes=3), "no key 'stpes': did you mean 'steps'"),
    'unknown key': (dict(model__colour=3), "no key 'colour'"),
    'wrong type': (dict(steps='many'), "whole number, got 'many'"),
    'questions that do not fit': (
        dict(data__source='mqar', data__path=''),
        'config.sequence_length must be at least 64',
    ),
    'missing data': (dict(data__path='missing.txt'), 'config.data.path'),
    'mask among the tokens': (
        dict(model__mask_id=9),
        "config.model.mask_id must lie beyond the tokenizer's 257 ids",
    ),
    'long prefix': (dict(prefix__capacity=1.5), 'config.prefix.capacity'),
    'indivisible batch': (
        dict(batch_size=3),
        'config.batch_size must be a multiple of 2',
    ),
    'no mixer': (dict(model__mixers="('conv', 'pal')"), 'config.model.mixers'),
    'no config': (dict(config='configs/missing.py'), 'configs/missing.py'),
}


# One that the parser finds: what raises the others is tested where it is.
@pytest.mark.parametrize(
    'mistake',
    [
        pytest.param(
            name,
            marks=() if name == 'mistyped key' else pytest.mark.slow,
        )
        for name in MISTAKES
    ],
)
def test_a_mistake_ends_in_one_clear_line(start, tmp_path, mistake):
  keys, message = MISTAKES[mistake]
  assert_one_line(start(tmp_path / 'run', **keys), message)


@pytest.mark.slow
def test_a_workdir_that_cannot_be_written_is_a_mistake(start, tmp_path):
  (tmp_path / 'file').write_text('')
  assert_one_line(start(tmp_path / 'file' / 'run'), 'workdir must be')


@pytest.mark.slow
def test_a_workdir_of_another_model_is_a_mistake(start, finished):
  process = start(finished[0], '--allow_config_change', model__width=32)
  _, errors = process.communicate()
  assert process.returncode == 2
  assert 'has a run of another model' in errors.splitlines()[0]


@pytest.mark.slow
def test_empty_data_are_a_mistake(start, tmp_path):
  (tmp_path / 'empty.txt').write_text('')
  process = start(tmp_path / 'run', data__path=tmp_path / 'empty.txt')
  assert_one_line(process, 'config.data')


def assert_one_line(process, message):
  _, errors = process.communicate()
  assert process.returncode == 2
  assert 'Traceback' not in errors
  (line,) = [x for x in errors.splitlines() if x.startswith('error: ')]
  assert message in line


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_360m_model_takes_two_steps_in_less_than_20_gb(tmp_path):
  keys = {'steps': 2, 'batch_size': 2, 'sequence_length': 256, 'log_every': 1}
  log = tmp_path / 'log.txt'
  with log.open('w') as output:
    process = subprocess.Popen(
        [sys.executable, '-m', 'jrt_jax.train']
        + ['--config=configs/jrt_360m.py', f'--workdir={tmp_path / "run"}']
        + [f'--config.{key}={value}' for key, value in keys.items()],
        cwd=ROOT,
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ''},
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    _, status, usage = os.wait4(process.pid, 0)
  assert os.waitstatus_to_exitcode(status) == 0, log.read_text()
  assert usage.ru_maxrss * 1024 < 20e9
  assert 'This is a demonstration' in log.read_text()
  first = metrics(tmp_path / 'run')[1, 'next_token_loss']
  assert first == pytest.approx(np.log(50264), rel=0.1)
