"""What a run computes linear attention with, on a GPU that is pretended."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import pytest

from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.runtime import distributed
from jrt_jax.runtime import gpus
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import kernels
from jrt_jax.training import run_kernels
from pallas_kernels import tiles

ROOT = pathlib.Path(__file__).parents[3]
H100 = gpus.Gpu('3', 'NVIDIA H100 PCIe', '9.0', '580.1')
ALONE = distributed.Peers()
RIGHT = 'the kernels are right on NVIDIA H100 PCIe'
FOUND_RIGHT = kernels.Choice(KERNELS_OR_CHUNKED, RIGHT)
WRONG = 'the kernels may not run on NVIDIA H100 PCIe: '

needs_mosaic = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)


def test_nothing_is_asked_if_the_config_names_one(
    asked, kernels_config, tmp_path
):
  questions = asked()
  kernels_config['model']['implementation'] = 'mosaic_sm90'
  choice = run_kernels.of_run(kernels_config, tmp_path, ALONE)
  assert choice == kernels.Choice('mosaic_sm90') and not questions


def test_nothing_is_recorded_where_there_was_nothing_to_choose(tmp_path):
  run_kernels.record(tmp_path, kernels.Choice('auto'))
  assert not [*tmp_path.iterdir()]


@pytest.fixture
def begun(tmp_path, monkeypatch):
  """A function that makes the workdir of a run, which began with a choice."""
  monkeypatch.setattr(checkpoint_reader, 'exists', lambda workdir: True)

  def begin(*choice):
    run_kernels.record(tmp_path, kernels.Choice(*choice))
    return tmp_path

  return begin


@needs_mosaic
def test_a_run_keeps_chunked_though_kernels_are_right_by_now(
    asked, begun, kernels_config
):
  questions = asked()
  choice = run_kernels.of_run(
      kernels_config, begun('chunked', f'{WRONG}it hung'), ALONE
  )
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
    asked, begun, kernels_config, reason, implementation
):
  workdir = begun('chunked', f'{WRONG}it hung', True)
  asked('it hung again', report=None)
  assert run_kernels.of_run(kernels_config, workdir, ALONE).unanswered
  questions = asked(reason)
  choice = run_kernels.of_run(kernels_config, workdir, ALONE)
  assert choice.implementation == implementation and not choice.unanswered
  assert questions == [([64], '3')]


def test_a_run_without_an_answer_keeps_chunked_where_nobody_can_be_asked(
    asked, begun, kernels_config
):
  asked(gpu=None)
  before = kernels.Choice('chunked', 'the check hung', True)
  choice = run_kernels.of_run(kernels_config, begun(*before), ALONE)
  assert choice == before._replace(
      reason='this run started with it, as the check hung'
  )


def test_what_earlier_versions_have_recorded_was_an_answer(begun):
  workdir = begun('chunked', 'it hung')
  (workdir / 'kernels.json').write_text(
      '{"implementation": "chunked", "reason": "it hung"}'
  )
  assert run_kernels.read(workdir) == kernels.Choice('chunked', 'it hung')


@needs_mosaic
def test_a_run_that_began_where_nothing_was_asked_keeps_chunked(
    asked, begun, kernels_config
):
  questions = asked()
  # Here 'auto' is the kernels.
  tiles.save('prefix_linear_attention', H100.kind, {'V64': {}}, {})
  assert run_kernels.of_run(
      kernels_config, begun('auto'), ALONE
  ) == kernels.Choice('chunked')
  assert not questions


@needs_mosaic
def test_a_run_keeps_kernels_that_are_right(asked, begun, kernels_config):
  asked()
  choice = run_kernels.of_run(
      kernels_config, begun(KERNELS_OR_CHUNKED, RIGHT), ALONE
  )
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
    asked, begun, kernels_config, gpu, told
):
  asked('it hung', gpu)
  choice = run_kernels.of_run(
      kernels_config, begun(KERNELS_OR_CHUNKED, RIGHT), ALONE
  )
  reason = f'this run started with the kernels, but {told}'
  assert choice == kernels.Choice('chunked', reason)


def test_a_workdir_without_a_checkpoint_has_begun_with_nothing(
    asked, kernels_config, tmp_path
):
  asked(gpu=None)
  run_kernels.record(tmp_path, kernels.Choice('chunked', 'it hung'))
  assert run_kernels.of_run(kernels_config, tmp_path, ALONE) == kernels.Choice(
      'auto'
  )
  run_kernels.forget(tmp_path)
  run_kernels.forget(tmp_path)
  assert not [*tmp_path.iterdir()]


def test_a_damaged_record_is_named(begun, kernels_config):
  workdir = begun('chunked', 'it hung')
  (workdir / 'kernels.json').write_text('{"implementation": "auto"}')
  with pytest.raises(ValueError, match='kernels.json: reason must be given'):
    run_kernels.of_run(kernels_config, workdir, ALONE)


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
    kernels_config, tmp_path, monkeypatch, answers, expected
):
  monkeypatch.setattr(distributed, 'everyones', lambda name, own: answers)
  other = ALONE._replace(is_first_of_node=False)
  assert run_kernels.of_run(kernels_config, tmp_path, other) == kernels.Choice(
      *expected
  )


# Two processes of two nodes, the kernels of the second of which are wrong.
PROGRAM = """
import json, pathlib, socket, sys
from jrt_jax.runtime import distributed, failures, gpus
from jrt_jax.training import kernels, run_kernels
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
    print(run_kernels.of_run({'model': model}, pathlib.Path('none'), peers))
    distributed.open_devices()
"""


@needs_mosaic
def test_two_nodes_that_disagree_take_chunked(kernels_config):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = str(free.getsockname()[1])
  model = json.dumps(kernels_config['model'])
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
