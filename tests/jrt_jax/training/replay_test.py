"""Steps that are repeated from a checkpoint, in this process."""

import json
import shutil

import pytest

from jrt_jax.training import loop
from jrt_jax.training import program
from jrt_jax.training import replay
from jrt_jax.training import run as run_lib

pytestmark = pytest.mark.usefixtures('shared_compilation')


@pytest.fixture(scope='module')
def trained(run_config, tmp_path_factory):
  """The workdir of a run with checkpoints at steps 2, 4 and 6."""
  text = tmp_path_factory.mktemp('data') / 'text.txt'
  text.write_text('the cat sat on the mat, a long log. ' * 1000)
  config = run_config(
      model__mixers=('conv',),
      microbatch_per_device=8,
      data__path=str(text),
      prefix__name='uniform',
      mesh__data=1,
      checkpoint_every=2,
      keep_checkpoints=3,
  )
  workdir = tmp_path_factory.mktemp('runs') / 'run'
  run = run_lib.Run(config, workdir)
  loop.train(run, run.start()[0], program.compile_step(run))
  return workdir


@pytest.fixture
def workdir(trained, tmp_path):
  """A copy, to be changed."""
  return shutil.copytree(trained, tmp_path / 'run')


def rewrite(path, change):
  path.write_text(change(path.read_text()))


def files(folder):
  """The content and the time of all files."""
  return {
      path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
      for path in folder.rglob('*')
  }


def test_what_is_repeated_is_the_same_bit_for_bit_and_nothing_is_written(
    trained,
):
  before = files(trained)
  found = replay.replay(trained, *replay.choose_steps(trained, None, None))
  assert found.differences == [] and found.changes == []
  assert files(trained) == before
  # The loss, its parts and accuracies, the norm, and counts; of two steps.
  assert found.metrics == 2 * 9
  assert found.numbers > 3 * 320 * 8  # the embedding and its two moments


def test_any_two_checkpoints_can_be_compared(trained):
  assert replay.choose_steps(trained, None, None) == (4, 6)
  assert replay.choose_steps(trained, None, 4) == (2, 4)
  found = replay.replay(trained, *replay.choose_steps(trained, 2, None))
  assert found.differences == [] and found.metrics == 4 * 9


def test_another_learning_rate_is_found_in_weights_moments_and_losses(workdir):
  rewrite(
      workdir / 'config.json',
      lambda text: text.replace('"b1": 0.9,', '"b1": 0.8,'),
  )
  found = replay.replay(workdir, 4, 6)
  what = {x.what.split('[')[0] for x in found.differences}
  assert {'params', 'opt_state.inner', 'loss of step 6'} <= what
  assert 'loss of step 5' not in what  # of the weights of the checkpoint
  (embedding,) = [
      x.how for x in found.differences if x.what.startswith("params['emb")
  ]
  assert ' numbers differ, by at most ' in embedding


def test_a_metric_that_was_not_logged_so_is_found(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  (changed,) = [x for x in records if x['step'] == 5 and 'loss' in x]
  was = changed['loss']
  changed['loss'] = 0.5
  (workdir / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, records)))
  found = replay.replay(workdir, 4, 6)
  assert found.differences == [('loss of step 5', f'0.5 → {was}')]


def test_other_devices_are_refused(workdir):
  rewrite(
      workdir / 'config.json',
      lambda text: text.replace('"data": 1,', '"data": 2,'),
  )
  with pytest.raises(
      ValueError, match='was trained on 1 x cpu, and .* 2 x cpu'
  ):
    replay.replay(workdir, 4, 6)


@pytest.mark.parametrize(
    'first, last, message',
    [
        (3, None, '--from must be the step of a checkpoint, 2, 4, 6, got 3'),
        (None, 5, '--to must be the step of a checkpoint, 2, 4, 6, got 5'),
        (None, 2, '--to=2 is the first checkpoint'),
        (6, 4, '--from must be less than --to=4, got 6'),
    ],
)
def test_steps_without_a_checkpoint_are_refused(trained, first, last, message):
  with pytest.raises(ValueError, match=message):
    replay.choose_steps(trained, first, last)


def test_two_intact_checkpoints_are_needed(workdir):
  file = workdir / 'checkpoints' / '4' / 'params' / '_METADATA'
  file.write_text('{}')
  with pytest.raises(ValueError, match='checkpoints/4 is damaged: .* changed'):
    replay.choose_steps(workdir, None, None)
  for step in (2, 4):
    shutil.rmtree(workdir / 'checkpoints' / str(step))
  with pytest.raises(ValueError, match='two checkpoints, got .* has 1: config'):
    replay.choose_steps(workdir, None, None)
