"""Real processes that train together on CPUs, over gloo."""

import functools
import json
import shutil
import signal
import socket

import numpy as np
import pytest

from jrt_jax.data import manifest
from jrt_jax.data import preparation
from jrt_jax.runtime import folder_lock
from jrt_jax.training import checkpoint_reader

STEPS = 12  # of the runs that `start` starts
COMPARED = ('loss', 'grad_norm', 'loss_tokens', 'held_out/bits_per_byte')


@pytest.fixture(scope='module')
def start(start):  # pylint: disable=redefined-outer-name
  """`start`, of a model that compiles fast."""
  return functools.partial(start, model__mixers="('pla',)")


@pytest.fixture(scope='module')
def start_many(start):
  """A function that starts processes of one run; `own` has keys of each."""

  def start_many(workdir, *flags, own, **keys):
    with socket.socket() as free:
      free.bind(('localhost', 0))
      port = free.getsockname()[1]
    flags += (f'--coordinator=localhost:{port}', f'--num_processes={len(own)}')
    return [
        start(workdir, *flags, f'--process_id={i}', **keys | other)
        for i, other in enumerate(own)
    ]

  return start_many


@pytest.fixture(scope='module')
def start_two(start_many):
  """A function that starts two processes of one run; `second` has own keys."""
  return lambda workdir, *flags, second={}, **keys: start_many(
      workdir, *flags, own=[{}, second], **keys
  )


@pytest.fixture(scope='module')
def make_shards():
  """A function that makes a folder of two token shards of bytes."""

  def make(folder):
    text = folder.with_suffix('.txt')
    documents = (f'the cat sat on the mat {i} times. ' for i in range(200))
    text.write_text('<|endoftext|>'.join(documents))
    settings = manifest.Settings('text', separator='<|endoftext|>')
    preparation.prepare(folder, [str(text)], 'bytes', settings, workers=1)
    return folder

  return make


def finish(processes):
  """Returns the exit codes, the outputs and the errors of all."""
  said = [process.communicate() for process in processes]
  return [process.returncode for process in processes], *zip(*said)


@pytest.fixture(scope='module')
def alone(start, tmp_path_factory):
  """The workdir of one process."""
  workdir = tmp_path_factory.mktemp('alone')
  codes, _, errors = finish([start(workdir)])
  assert codes == [0], errors
  return workdir


@pytest.fixture(scope='module')
def both(start_two, tmp_path_factory):
  """The workdir and the outputs of two processes."""
  workdir = tmp_path_factory.mktemp('both')
  codes, outputs, errors = finish(start_two(workdir))
  assert codes == [0, 0], errors
  return workdir, outputs


def metrics(workdir):
  """{(step, name): value} of what is compared."""
  lines = map(json.loads, (workdir / 'metrics.jsonl').open())
  return {
      (line['step'], name): line[name]
      for line in lines
      for name in COMPARED
      if name in line
  }


def assert_same_run(workdir, other, tolerance=1e-4):
  actual, expected = metrics(workdir), metrics(other)
  assert actual.keys() == expected.keys()
  assert max(actual)[0] == STEPS
  for key, value in expected.items():
    assert actual[key] == pytest.approx(value, rel=tolerance), key
  params, step = checkpoint_reader.load_params(workdir)
  others, _ = checkpoint_reader.load_params(other)
  assert step == STEPS
  for name in others:
    np.testing.assert_allclose(params[name], others[name], atol=1e-4)


def test_two_processes_train_and_evaluate_as_one_does(alone, both):
  assert_same_run(both[0], alone)


@pytest.mark.slow
def test_processes_that_share_parameters_do_too(start_two, alone, tmp_path):
  codes, _, errors = finish(start_two(tmp_path, mesh__tensor=2))
  assert codes == [0, 0], errors
  assert_same_run(tmp_path, alone)


@pytest.mark.slow
def test_processes_that_divide_rows_do_too_and_one_goes_on_on_another_mesh(
    start, start_two, alone, tmp_path
):
  codes, _, errors = finish(start_two(tmp_path, mesh__sequence=2))
  assert codes == [0, 0], errors
  assert_same_run(tmp_path, alone)
  shutil.rmtree(tmp_path / 'checkpoints' / str(STEPS))
  two_devices = {'JAX_NUM_CPU_DEVICES': '2'}
  process = start(tmp_path, mesh__tensor=2, env=two_devices)
  codes, outputs, errors = finish([process])
  assert codes == [0], errors
  assert 'resuming from step 9' in outputs[0]
  assert_same_run(tmp_path, alone)


def test_what_a_run_says_and_writes_comes_once(both):
  workdir, (output, silence) = both
  assert 'processes: 2 on 1 node (flags)' in output
  assert 'held-out text' in output
  assert 'held-out' not in silence and 'processes' not in silence
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  assert len(lines) == STEPS + 2  # two of them of evaluations
  assert len([*workdir.glob('events.out.tfevents.*')]) == 1
  (events,) = [*workdir.glob('config*.json')]
  assert json.loads(events.read_text())['steps'] == STEPS


@pytest.mark.slow  # that of two processes, of which one is killed, is not
def test_a_run_of_two_that_is_terminated_goes_on_alone(
    start, start_two, wait_for_step, alone, tmp_path
):
  processes = start_two(tmp_path)
  wait_for_step(tmp_path, 4, processes[0])
  processes[1].terminate()  # the other one must heed it, too
  codes, outputs, errors = finish(processes)
  assert codes == [128 + signal.SIGTERM] * 2, errors
  stopped_at = checkpoint_reader.load_params(tmp_path)[1]
  assert f'after step {stopped_at}: the same command' in outputs[0] + errors[0]
  assert stopped_at < STEPS
  _, outputs, _ = finish([start(tmp_path)])
  assert f'resuming from step {stopped_at}' in outputs[0]
  assert_same_run(tmp_path, alone)


def kill(k, processes):
  """Kills one of two processes; the other one ends, and says why in one line."""
  processes[k].kill()
  _, errors = processes[1 - k].communicate(timeout=60)
  # Who notices first decides: a collective, or who listens for a sign of life.
  words = {
      1: 'lost the connection to another process',
      200: f'waits in vain: process {k} ',
  }
  (line,) = [x for x in errors.splitlines() if x.startswith('error: ')]
  assert words[processes[1 - k].returncode] in line
  processes[k].communicate()
  assert processes[k].returncode == -signal.SIGKILL


def test_a_run_of_two_that_loses_one_goes_on_alone(
    start, start_two, wait_for_step, alone, tmp_path
):
  processes = start_two(tmp_path)
  wait_for_step(tmp_path, 8, processes[0])
  kill(1, processes)
  _, outputs, _ = finish([start(tmp_path)])
  assert 'resuming from step' in outputs[0]
  assert_same_run(tmp_path, alone)


@pytest.mark.slow
def test_a_run_of_four_that_loses_one_goes_on_in_three(
    start, start_many, wait_for_step, tmp_path
):
  keys = {'batch_size': 12, 'microbatch_per_device': 1}
  codes, _, errors = finish([start(tmp_path / 'alone', **keys)])
  assert codes == [0], errors
  workdir = tmp_path / 'run'
  processes = start_many(workdir, own=[{}] * 4, **keys)
  wait_for_step(workdir, 8, processes[0])
  processes[2].kill()
  codes, _, errors = finish(processes)
  assert codes[2] == -signal.SIGKILL
  assert {codes[0], codes[1], codes[3]} <= {1, 200}, errors
  codes, outputs, errors = finish(start_many(workdir, own=[{}] * 3, **keys))
  assert codes == [0] * 3, errors
  assert 'resuming from step' in outputs[0]
  assert_same_run(workdir, tmp_path / 'alone', tolerance=1e-3)


@pytest.mark.slow
def test_a_run_of_one_goes_on_in_two(start_two, alone, tmp_path):
  workdir = shutil.copytree(alone, tmp_path / 'run')
  shutil.rmtree(workdir / 'checkpoints' / str(STEPS))
  codes, outputs, errors = finish(start_two(workdir))
  assert codes == [0, 0], errors
  assert 'resuming from step 9' in outputs[0]
  assert_same_run(workdir, alone)


@pytest.mark.slow  # runtime/distributed_test.py has how this is noticed
def test_the_death_of_the_first_ends_the_other(
    start_two, wait_for_step, tmp_path
):
  processes = start_two(tmp_path, steps=100_000, log_every=10)
  wait_for_step(tmp_path, 10, processes[0])
  kill(0, processes)


@pytest.mark.slow  # runtime/distributed_test.py has what is compared
def test_processes_with_other_configs_are_refused(start_two, tmp_path):
  other = {'optimizer__peak_lr': 0.5}
  processes = start_two(tmp_path, second=other, optimizer__peak_lr=0.25)
  codes, _, errors = finish(processes)
  assert codes == [2, 2]
  assert (
      'config.optimizer.peak_lr is 0.25 in process 0 and 0.5 in process 1'
      in errors[0]
  )
  assert 'error: ' not in errors[1]


@pytest.mark.slow
def test_a_mistake_is_told_once_and_ends_both(start_two, tmp_path):
  codes, _, errors = finish(start_two(tmp_path, batch_size=3))
  assert codes == [2, 2]
  assert 'error: config.batch_size must be a multiple of 2' in errors[0]
  assert 'error: ' not in errors[1]


def test_a_damaged_file_that_only_one_process_reads_ends_both(
    start_two, make_shards, tmp_path
):
  shards = make_shards(tmp_path / 'shards')
  second = sorted(shards.glob('*.bin'))[1]  # process 1 compares it
  content = bytearray(second.read_bytes())
  content[0] ^= 1
  second.write_bytes(content)
  keys = {'data__source': 'shards', 'data__path': shards}
  codes, _, errors = finish(start_two(tmp_path / 'run', **keys))
  assert codes == [2, 2]
  assert f'error: process 1: {shards} has damaged' in errors[0]
  assert second.name in errors[0]
  assert 'error: ' not in errors[1]


@pytest.mark.slow
def test_a_workdir_in_use_is_refused_by_both(start_two, tmp_path):
  with folder_lock.held(tmp_path, '--workdir'):
    codes, _, errors = finish(start_two(tmp_path))
  assert codes == [2, 2]
  assert 'is in use by another process' in errors[0]
  assert 'error: ' not in errors[1]


@pytest.mark.slow
def test_processes_read_the_step_that_they_have_compiled_if_all_can(
    start, start_two, tmp_path
):
  env = {
      'JAX_COMPILATION_CACHE_DIR': '',
      'XDG_CACHE_HOME': str(tmp_path / 'caches'),
  }

  def run(name):
    codes, outputs, errors = finish(start_two(tmp_path / name, env=env))
    assert codes == [0, 0], errors
    (started,) = [x for x in outputs[0].splitlines() if 'started in' in x]
    return 'read from the cache' in started

  assert not run('first')
  kept = [*(tmp_path / 'caches').rglob('*.program')]
  assert len(kept) == 2  # each process has its own
  assert run('second')
  kept[0].unlink()
  assert not run('third')  # the other one does not wait for it
  assert metrics(tmp_path / 'first') == metrics(tmp_path / 'second')


@pytest.mark.slow
def test_the_first_of_two_processes_probes_the_weights_of_both(
    start, start_two, tmp_path
):
  probes = {'probes__every': 6, 'probes__count': 2, 'probes__pairs': 2}
  two = start_two(tmp_path / 'two', mesh__fsdp=2, **probes)
  codes, _, errors = finish([*two, start(tmp_path / 'one', **probes)])
  assert codes == [0, 0, 0], errors
  found = []
  for workdir in (tmp_path / 'two', tmp_path / 'one'):
    lines = map(json.loads, (workdir / 'metrics.jsonl').open())
    asked = [x for x in lines if 'probe/answer_loss_twice' in x]
    assert [x['step'] for x in asked] == [6, STEPS]
    found.append([x['probe/answer_loss_twice'] for x in asked])
  np.testing.assert_allclose(*found, rtol=1e-3)
