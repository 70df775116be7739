import contextlib
import signal
import sys

import pytest

from jrt_jax.reproduce import training
from jrt_jax.training import kernels
from jrt_jax.training import optimizer
from jrt_jax.training import run_kernels

pytestmark = pytest.mark.usefixtures('shared_compilation')

OVERRIDES = {
    'steps': 6,
    'batch_size': 8,
    'microbatch_per_device': 1,
    'sequence_length': 18,
    'eval_every': 3,
    'eval_batches': 2,
    'log_every': 2,
    'checkpoint_every': 2,
    'model.mixers': ['pla'],
    'model.width': 8,
    'model.feature_map.feature_dim': 2,
    'optimizer.warmup_steps': 2,
    'data.synthetic.sizes': [2, 5],
    'data.num_threads': 0,
}
SETTINGS = {
    'task': 'forward_reference',
    'learning_rate': 0.01,
    'seed': 3,
    'overrides': OVERRIDES,
}


@pytest.fixture
def at_step(monkeypatch):
  """A function that lets something happen when a run comes to a step.

  It returns the steps that the run has been told to be at.
  """

  def at_step(number, happen):
    seen = [0]

    @contextlib.contextmanager
    def quietly(*_):
      def advance(count):
        seen.append(seen[-1] + count)
        if seen[-1] == number:
          happen()

      yield advance

    monkeypatch.setattr(training, '_quietly', quietly)
    return seen

  return at_step


def test_nothing_is_shown_but_a_line_on_a_terminal(tmp_path, capsys):
  with training._quietly(tmp_path, 5, 'job') as advance:
    print('much')
    print('more', file=sys.stderr)
    advance(2)
  assert capsys.readouterr() == ('', '')
  assert (tmp_path / 'log.txt').read_text() == 'much\nmore\n'


def kill():
  raise SystemExit('killed')


def test_a_job_that_was_killed_goes_on_and_has_the_figures_of_its_end(
    at_step, tmp_path
):
  at_step(6, kill)
  with pytest.raises(SystemExit, match='killed'):
    training.train(SETTINGS, tmp_path)
  seen = at_step(None, kill)
  figures = training.train(SETTINGS, tmp_path)
  assert seen == [0, 4, 5, 6]  # from the newest checkpoint
  assert figures['tokens'] == 6 * 8 * 18 and figures['seconds'] > 0
  assert [step for step, _ in figures['curve']] == [3, 6]
  assert figures['curve'][-1][1] == figures['answer_accuracy']
  assert figures['answer_loss'] > 0 and not figures['diverged']
  assert {'answer_accuracy_2', 'answer_accuracy_5'} <= figures.keys()
  assert figures['parameters'] > 0 and figures['state_bytes'] > 0


@pytest.mark.slow
def test_ctrl_c_saves_the_run_and_then_ends_the_program(at_step, tmp_path):
  at_step(3, lambda: signal.raise_signal(signal.SIGINT))
  with pytest.raises(KeyboardInterrupt):
    training.train(SETTINGS, tmp_path)
  seen = at_step(None, kill)
  training.train(SETTINGS, tmp_path)
  assert seen[1] in (2, 3)  # what was saved when the signal came


@pytest.mark.slow
def test_a_run_that_diverges_has_figures_but_no_score(tmp_path):
  overrides = OVERRIDES | {
      'optimizer.max_bad_steps': 2,
      'optimizer.spike_factor': 1e-9,  # all are spikes, once there is a mean
      'steps': optimizer.NORM_MEMORY + 10,
      'eval_every': 0,
  }
  figures = training.train(SETTINGS | {'overrides': overrides}, tmp_path)
  assert figures['diverged'] and figures['answer_accuracy'] is None
  assert figures['parameters'] > 0


def test_a_run_asks_what_computes_linear_attention(
    tmp_path, monkeypatch, at_step
):
  asked = []

  def of_run(config, workdir, peers):
    asked.append(workdir)
    return kernels.Choice('chunked', 'the GPU hangs')

  def stop():
    raise KeyboardInterrupt

  monkeypatch.setattr(run_kernels, 'of_run', of_run)
  at_step(1, stop)
  with pytest.raises(KeyboardInterrupt):
    training.train(SETTINGS, tmp_path)
  assert asked == [tmp_path]
  assert run_kernels.read(tmp_path).reason == 'the GPU hangs'


def test_a_learning_rate_and_a_seed_are_those_of_the_run():
  config = training.config(SETTINGS)
  assert config['optimizer']['peak_lr'] == 0.01
  assert config['optimizer']['min_lr'] == pytest.approx(1e-4)
  assert config['seed'] == 3 and config['model']['width'] == 8
  assert config['data']['source'] == 'forward_reference'


def test_a_key_that_no_config_has_is_named(tmp_path):
  wrong = SETTINGS | {'overrides': {'model.widht': 8}}
  with pytest.raises(ValueError, match='widht'):
    training.train(wrong, tmp_path)


def test_chance_counts_answers_as_accuracies_do():
  assert training.chance(SETTINGS) == pytest.approx(2 / 7)  # 1 of 2, and of 5
