"""What computes linear attention on a GPU that is pretended."""

import contextlib
import json
import pathlib
import sys

import jax
import pytest

from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.runtime import gpus
from jrt_jax.training import kernels
from pallas_kernels import tiles
from pallas_kernels.selfcheck import kept
from pallas_kernels.selfcheck import verdict as verdict_lib

ROOT = pathlib.Path(__file__).parents[3]
H100 = gpus.Gpu('3', 'NVIDIA H100 PCIe', '9.0', '580.1')
RIGHT = 'the kernels are right on NVIDIA H100 PCIe'
FOUND_RIGHT = kernels.Choice(KERNELS_OR_CHUNKED, RIGHT)
WRONG = 'the kernels may not run on NVIDIA H100 PCIe: '

needs_mosaic = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)


@needs_mosaic
def test_kernels_that_are_found_right_are_chosen(asked, kernels_config, capsys):
  questions = asked()
  choice = kernels.here(kernels_config['model'])
  assert questions == [([64], '3')]
  assert str(choice) == (
      'linear attention: mosaic_sm90_or_chunked, because the kernels are right'
      ' on NVIDIA H100 PCIe'
  )
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('checking the Hopper kernels on NVIDIA H100 PCIe')


@needs_mosaic
@pytest.mark.parametrize('reason', [None, 'it hung'])
def test_one_process_asks_once_whatever_it_finds(asked, kernels_config, reason):
  questions = asked(reason)
  first, second = (kernels.here(kernels_config['model']) for _ in range(2))
  assert first == second and len(questions) == 1


@needs_mosaic
def test_what_was_found_right_is_not_asked_again(asked, kernels_config, capsys):
  asked()
  first = kernels.here(kernels_config['model'])
  capsys.readouterr()
  questions = asked('it would be wrong now')
  assert kernels.here(kernels_config['model']) == first
  assert not questions and not capsys.readouterr().err
  assert (
      kernels.here(kernels_config['model'] | {'width': 256}).reason
      != first.reason
  )
  assert questions == [([128], '3')]


@needs_mosaic
def test_what_was_found_wrong_is_asked_again(asked, kernels_config):
  asked('there was no answer after 120 seconds')
  choice = kernels.here(kernels_config['model'])
  assert choice[:2] == (
      'chunked',
      WRONG + 'there was no answer after 120 seconds',
  )
  questions = asked()
  assert kernels.here(kernels_config['model']) == FOUND_RIGHT
  assert questions


@needs_mosaic
def test_what_another_process_found_right_meanwhile_is_not_asked_again(
    asked, kernels_config, monkeypatch, capsys
):
  questions = asked('it would be wrong now')
  about = kept.about(64, {'kind': H100.kind, 'driver': H100.driver})

  @contextlib.contextmanager
  def turn(folder, on_wait):
    on_wait()
    kept.add(folder, about)
    yield

  monkeypatch.setattr(kept, 'turn', turn)
  assert kernels.here(kernels_config['model']) == FOUND_RIGHT
  assert not questions
  told = f'waiting for another check of the Hopper kernels on {H100.kind} …\n'
  assert capsys.readouterr().err == told


@needs_mosaic
def test_without_a_home_it_is_asked_each_time(
    asked, kernels_config, monkeypatch
):
  monkeypatch.setattr(kernels.user_cache, 'folder', lambda: None)
  for _ in range(2):
    questions = asked()
    assert kernels.here(kernels_config['model']) == FOUND_RIGHT
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
    asked, kernels_config, monkeypatch, report, reason
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
  choice = kernels.here(kernels_config['model'])
  assert choice[:2] == ('chunked', WRONG + reason)
  # A report that makes no sense is an answer: wrong kernels may write it.
  assert choice.unanswered == isinstance(report, str)


@needs_mosaic
def test_a_gpu_that_has_a_table_is_not_asked(asked, kernels_config):
  tiles.save('prefix_linear_attention', H100.kind, {'V64': {}}, {})
  questions = asked()
  assert kernels.here(kernels_config['model']) == kernels.Choice(
      KERNELS_OR_CHUNKED,
      'the kernels were measured on NVIDIA H100 PCIe',
  )
  assert not questions
  # But other widths are, and other GPUs.
  assert kernels.here(kernels_config['model'] | {'width': 256}).reason == RIGHT
  assert questions == [([128], '3')]
  questions = asked(gpu=H100._replace(kind='NVIDIA H100 NVL'))
  assert kernels.here(kernels_config['model']).reason != RIGHT
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
def test_nothing_is_asked_where_kernels_cannot_run(
    asked, kernels_config, gpu, changes
):
  questions = asked(gpu=gpu)
  choice = kernels.here(kernels_config['model'] | changes)
  assert choice == kernels.Choice('auto') and not questions
