"""What computes linear attention on a GPU that is pretended."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import pytest

from configs import base
from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.runtime import distributed
from jrt_jax.runtime import gpus
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import kernels
from pallas_kernels import tiles
from pallas_kernels.selfcheck import kept
from pallas_kernels.selfcheck import verdict as verdict_lib

ROOT = pathlib.Path(__file__).parents[3]
H100 = gpus.Gpu('3', 'NVIDIA H100 PCIe', '9.0', '580.1')
ALONE = distributed.Peers()
RIGHT = 'the kernels are right on NVIDIA H100 PCIe'
FOUND_RIGHT = kernels.Choice(KERNELS_OR_CHUNKED, RIGHT)
WRONG = 'the kernels may not run on NVIDIA H100 PCIe: '

needs_mosaic = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)


@pytest.fixture
def config():
  config = base.get_config()
  config.model.mixers = ('conv', 'pla')
  config.model.update(width=128, num_heads=2)
  return config.to_dict()


@pytest.fixture
def asked(monkeypatch, tmp_path):
  """A function that makes this a machine whose check ends with a reason.

  It returns a list, of what is asked there.
  """
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'caches'))
  monkeypatch.setattr(tiles, '_FOLDER', tmp_path / 'tables')

  def on(reason=None, gpu=H100, report=()):
    kernels._asked.cache_clear()  # as in another process
    questions = []

    def decide(widths, *, gpu):
      questions.append((widths, gpu))
      return [verdict_lib.Verdict(V, reason, report) for V in widths]

    monkeypatch.setattr(gpus, 'first', lambda ids: gpu)
    monkeypatch.setattr(verdict_lib, 'decide', decide)
    return questions

  return on


@needs_mosaic
def test_kernels_that_are_found_right_are_chosen(asked, config, capsys):
  questions = asked()
  choice = kernels.here(config['model'])
  assert questions == [([64], '3')]
  assert str(choice) == (
      'linear attention: mosaic_sm90_or_chunked, because the kernels are right'
      ' on NVIDIA H100 PCIe'
  )
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('checking the Hopper kernels on NVIDIA H100 PCIe')


@needs_mosaic
@pytest.mark.parametrize('reason', [None, 'it hung'])
def test_one_process_asks_once_whatever_it_finds(asked, config, reason):
  questions = asked(reason)
  first, second = (kernels.here(config['model']) for _ in range(2))
  assert first == second and len(questions) == 1


@needs_mosaic
def test_what_was_found_right_is_not_asked_again(asked, config, capsys):
  asked()
  first = kernels.here(config['model'])
  capsys.readouterr()
  questions = asked('it would be wrong now')
  assert kernels.here(config['model']) == first
  assert not questions and not capsys.readouterr().err
  assert kernels.here(config['model'] | {'width': 256}).reason != first.reason
  assert questions == [([128], '3')]


@needs_mosaic
def test_what_was_found_wrong_is_asked_again(asked, config):
  asked('there was no answer after 120 seconds')
  choice = kernels.here(config['model'])
  assert choice[:2] == (
      'chunked',
      WRONG + 'there was no answer after 120 seconds',
  )
  questions = asked()
  assert kernels.here(config['model']) == FOUND_RIGHT
  assert questions


@needs_mosaic
def test_what_another_process_found_right_meanwhile_is_not_asked_again(
    asked, config, monkeypatch, capsys
):
  questions = asked('it would be wrong now')
  about = kept.about(64, {'kind': H100.kind, 'driver': H100.driver})

  @contextlib.contextmanager
  def turn(folder, on_wait):
    on_wait()
    kept.add(folder, about)
    yield

  monkeypatch.setattr(kept, 'turn', turn)
  assert kernels.here(config['model']) == FOUND_RIGHT
  assert not questions
  told = f'waiting for another check of the Hopper kernels on {H100.kind} …\n'
  assert capsys.readouterr().err == told


@needs_mosaic
def test_without_a_home_it_is_asked_each_time(asked, config, monkeypatch):
  monkeypatch.setattr(kernels.user_cache, 'folder', lambda: None)
  for _ in range(2):
    questions = asked()
    assert kernels.here(config['model']) == FOUND_RIGHT
    assert questions


@needs_mosaic
@pytest.mark.parametrize(
    'report, reason',
    [
        ('os.abort()', 'the process ended with signal 6 (Aborted): os.abort()'),
        ('print("fine")', 'it printed something else than JSON'),
        ({'V': 64, 'reason': None}, 'its report lacks something, or is none'),
        ('time.sleep(600)', 'there was no answer after 1 seconds'),
    ],
)
def test_a_process_that_crashes_lies_or_hangs_means_chunked(
    asked, config, monkeypatch, report, reason
):
  decide = verdict_lib.decide
  asked()
  about = {'device': H100.kind, 'platform': 'gpu', 'compute_capability': '9.0'}
  answers = {'about': f'print({json.dumps(json.dumps(about))})'}
  answers['check'] = report
  if not isinstance(report, str):
    answers['check'] = f'print({json.dumps(json.dumps(report))})'
  program = (
      'import json, os, sys, time; code = json.loads(sys.argv[1])[sys.argv[2]];'
      ' print(code, file=sys.stderr); exec(code)'
  )
  worker = [sys.executable, '-S', '-c', program, json.dumps(answers)]
  monkeypatch.setattr(
      verdict_lib,
      'decide',
      lambda widths, gpu: decide(widths, gpu=gpu, limit=1.0, worker=worker),
  )
  choice = kernels.here(config['model'])
  assert choice[:2] == ('chunked', WRONG + reason)
  # A report that makes no sense is an answer: wrong kernels may write it.
  assert choice.unanswered == isinstance(report, str)


@needs_mosaic
def test_a_gpu_that_has_a_table_is_not_asked(asked, config):
  tiles.save('prefix_linear_attention', H100.kind, {'V64': {}}, {})
  questions = asked()
  assert kernels.here(config['model']) == kernels.Choice(
      KERNELS_OR_CHUNKED,
      'the kernels were measured on NVIDIA H100 PCIe',
  )
  assert not questions
  # But other widths are, and other GPUs.
  assert kernels.here(config['model'] | {'width': 256}).reason == RIGHT
  assert questions == [([128], '3')]
  questions = asked(gpu=H100._replace(kind='NVIDIA H100 NVL'))
  assert kernels.here(config['model']).reason != RIGHT
  assert questions == [([64], '3')]


@pytest.mark.parametrize(
    'gpu, changes',
    [
        (None, {}),
        (H100._replace(compute_capability='8.0'), {}),
        (H100._replace(compute_capability='10.0'), {}),
        (H100, {'mixers': ('conv', 'swa')}),
        (H100, {'width': 512}),
        (H100, {'dtype': 'float32'}),
    ],
)
def test_nothing_is_asked_where_kernels_cannot_run(asked, config, gpu, changes):
  questions = asked(gpu=gpu)
  choice = kernels.here(config['model'] | changes)
  assert choice == kernels.Choice('auto') and not questions


def test_nothing_is_asked_if_the_config_names_one(asked, config, tmp_path):
  questions = asked()
  config['model']['implementation'] = 'mosaic_sm90'
  choice = kernels.of_run(config, tmp_path, ALONE)
  assert choice == kernels.Choice('mosaic_sm90') and not questions


def test_nothing_is_recorded_where_there_was_nothing_to_choose(tmp_path):
  kernels.record(tmp_path, kernels.Choice('auto'))
  assert not [*tmp_path.iterdir()]


@pytest.fixture
def begun(tmp_path, monkeypatch):
  """A function that makes the workdir of a run, which began with a choice."""
  monkeypatch.setattr(checkpoint_reader, 'exists', lambda workdir: True)

  def begin(*choice):
    kernels.record(tmp_path, kernels.Choice(*choice))
    return tmp_path

  return begin


@needs_mosaic
def test_a_run_keeps_chunked_though_kernels_are_right_by_now(
    asked, begun, config
):
  questions = asked()
  choice = kernels.of_run(config, begun('chunked', f'{WRONG}it hung'), ALONE)
  assert str(choice) == (
      'linear attention: chunked, because this run started with it, as the'
      ' kernels may not run on NVIDIA H100 PCIe: it hung'
  )
  assert not questions


@needs_mosaic
@pytest.mark.parametrize(
    'reason, implementation',
    [(None, KERNELS_OR_CHUNKED), ('k differs by 0.5', 'chunked')],
)
def test_a_run_that_began_without_an_answer_asks_again(
    asked, begun, config, reason, implementation
):
  workdir = begun('chunked', f'{WRONG}it hung', True)
  asked('it hung again', report=None)
  assert kernels.of_run(config, workdir, ALONE).unanswered
  questions = asked(reason)
  choice = kernels.of_run(config, workdir, ALONE)
  assert choice.implementation == implementation and not choice.unanswered
  assert questions == [([64], '3')]


def test_a_run_without_an_answer_keeps_chunked_where_nobody_can_be_asked(
    asked, begun, config
):
  asked(gpu=None)
  before = kernels.Choice('chunked', 'the check hung', True)
  choice = kernels.of_run(config, begun(*before), ALONE)
  assert choice == before._replace(
      reason='this run started with it, as the check hung'
  )


def test_what_earlier_versions_have_recorded_was_an_answer(begun):
  workdir = begun('chunked', 'it hung')
  (workdir / 'kernels.json').write_text(
      '{"implementation": "chunked", "reason": "it hung"}'
  )
  assert kernels.read(workdir) == kernels.Choice('chunked', 'it hung')


@needs_mosaic
def test_a_run_that_began_where_nothing_was_asked_keeps_chunked(
    asked, begun, config
):
  questions = asked()
  # Here 'auto' is the kernels.
  tiles.save('prefix_linear_attention', H100.kind, {'V64': {}}, {})
  assert kernels.of_run(config, begun('auto'), ALONE) == kernels.Choice(
      'chunked'
  )
  assert not questions


@needs_mosaic
def test_a_run_keeps_kernels_that_are_right(asked, begun, config):
  asked()
  choice = kernels.of_run(config, begun(KERNELS_OR_CHUNKED, RIGHT), ALONE)
  assert choice == FOUND_RIGHT


@needs_mosaic
@pytest.mark.parametrize(
    'gpu, told',
    [
        (H100, f'{WRONG}it hung'),
        (H100._replace(compute_capability='8.0'), 'they cannot run here'),
        (None, 'they cannot run here'),
    ],
)
def test_a_run_whose_kernels_may_not_run_here_goes_on_and_says_so(
    asked, begun, config, gpu, told
):
  asked('it hung', gpu)
  choice = kernels.of_run(config, begun(KERNELS_OR_CHUNKED, RIGHT), ALONE)
  reason = f'this run started with the kernels, but {told}'
  assert choice == kernels.Choice('chunked', reason)


def test_a_workdir_without_a_checkpoint_has_begun_with_nothing(
    asked, config, tmp_path
):
  asked(gpu=None)
  kernels.record(tmp_path, kernels.Choice('chunked', 'it hung'))
  assert kernels.of_run(config, tmp_path, ALONE) == kernels.Choice('auto')
  kernels.forget(tmp_path)
  kernels.forget(tmp_path)
  assert not [*tmp_path.iterdir()]


def test_a_damaged_record_is_named(begun, config):
  workdir = begun('chunked', 'it hung')
  (workdir / 'kernels.json').write_text('{"implementation": "auto"}')
  with pytest.raises(ValueError, match='kernels.json: reason must be given'):
    kernels.of_run(config, workdir, ALONE)


@needs_mosaic
@pytest.mark.parametrize(
    'answers, expected',
    [
        ([(KERNELS_OR_CHUNKED, RIGHT)] * 2, (KERNELS_OR_CHUNKED, RIGHT)),
        ([('auto', ''), None, ('auto', '')], ('auto', '')),
        (
            [(KERNELS_OR_CHUNKED, RIGHT), None, ('auto', '')],
            ('chunked', 'the GPUs of the nodes are not all of one kind'),
        ),
        (
            [(KERNELS_OR_CHUNKED, RIGHT), None, ('chunked', f'{WRONG}it hung')],
            ('chunked', f'in process 2 {WRONG}it hung'),
        ),
        (
            [('chunked', 'it hung', True), ('chunked', 'it is wrong', False)],
            ('chunked', 'in process 1 it is wrong'),
        ),
        (
            [None, ('chunked', 'it hung', True)],
            ('chunked', 'in process 1 it hung', True),
        ),
    ],
)
def test_all_processes_take_what_is_right_on_every_node(
    config, tmp_path, monkeypatch, answers, expected
):
  monkeypatch.setattr(distributed, 'everyones', lambda name, own: answers)
  other = ALONE._replace(is_first_of_node=False)
  assert kernels.of_run(config, tmp_path, other) == kernels.Choice(*expected)


# Two processes of two nodes, the kernels of the second of which are wrong.
PROGRAM = """
import json, pathlib, socket, sys
from jrt_jax.runtime import distributed, failures, gpus
from jrt_jax.training import kernels
from pallas_kernels.selfcheck import verdict

port, process, model = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
socket.gethostname = lambda: f'node{process}'
kernels.user_cache.folder = lambda: None
gpus.first = lambda ids: gpus.Gpu('0', 'NVIDIA H100 PCIe', '9.0', '580.1')
verdict.decide = lambda widths, gpu: [
    verdict.Verdict(V, 'it hung' if process else None, {}) for V in widths
]
with failures.together():
  with failures.shared():
    peers = distributed.meet(
        coordinator='localhost:' + port, num_processes=2, process_id=process
    )
    print(kernels.of_run({'model': model}, pathlib.Path('none'), peers))
    distributed.open_devices()
"""


@needs_mosaic
def test_two_nodes_that_disagree_take_chunked(config):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = str(free.getsockname()[1])
  model = json.dumps(config['model'])
  processes = [
      subprocess.Popen(
          [sys.executable, '-c', PROGRAM, port, str(process), model],
          cwd=ROOT,
          env=os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ''},
          text=True,
          stdout=subprocess.PIPE,
          stderr=subprocess.PIPE,
      )
      for process in range(2)
  ]
  said = [process.communicate(timeout=120) for process in processes]
  assert [process.returncode for process in processes] == [0, 0], said
  choice = kernels.Choice('chunked', f'in process 1 {WRONG}it hung')
  for output, _ in said:
    assert str(choice) in output.splitlines()
  told = ['checking the Hopper kernels' in errors for _, errors in said]
  assert told == [True, False]
