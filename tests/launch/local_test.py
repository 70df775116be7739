"""Local runs: which processes are started, with what; and two that meet."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

# What `jrt_jax.train` does at its beginning and end, with what lies between.
MEETING = """
from absl import app, flags
from jrt_jax.runtime import distributed, failures

STRINGS = {n: flags.DEFINE_string(n, None, '') for n in ('config', 'workdir',
           'cluster', 'coordinator')}
INTEGERS = {n: flags.DEFINE_integer(n, None, '')
            for n in ('num_processes', 'process_id')}

def main(argv):
  with failures.together():
    peers = distributed.meet(
        STRINGS['cluster'].value,
        coordinator=STRINGS['coordinator'].value,
        **{name: flag.value for name, flag in INTEGERS.items()},
    )
    distributed.open_devices()
    print(peers)
    print('largest', *distributed.largest(INTEGERS['process_id'].value + 40))

app.run(main)
"""


@pytest.fixture
def launch(tmp_path):
  """Runs `python -m launch local`, where a module of this text is `train`."""
  (tmp_path / 'config.py').write_text('')

  def launch(
      *arguments, origin='--config=config.py', train='', gpus=0, **environment
  ):
    (tmp_path / 'train.py').write_text(train)
    smi = tmp_path / 'nvidia-smi'
    smi.write_text('#!/bin/sh\n' + 'echo "GPU 0: NVIDIA H100"\n' * gpus)
    smi.chmod(0o755)
    program = (
        'import sys; from launch import __main__;'
        ' sys.exit(__main__.main(["local", *sys.argv[1:]], "train"))'
    )
    hidden = ('JAX_PLATFORMS', 'CUDA_VISIBLE_DEVICES', 'XLA_FLAGS')
    inherited = {k: v for k, v in os.environ.items() if k not in hidden}
    return subprocess.run(
        [sys.executable, '-c', program, origin, *arguments],
        cwd=tmp_path,
        env=inherited
        | {'PATH': f'{tmp_path}:/usr/bin:/bin'}
        | {'PYTHONPATH': f'{ROOT}:{tmp_path}'}
        | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )

  return launch


@pytest.fixture
def run_first(tmp_path):
  """The workdir `first`, of a run that has recorded its config."""
  (tmp_path / 'first').mkdir()
  (tmp_path / 'first' / 'config.json').write_text('{}')
  (tmp_path / 'recorded.py').write_text('')


def planned(done):
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()


def test_each_gpu_gets_a_process(launch):
  first, second = planned(launch('--dry_run', gpus=2))
  assert '-m train --config=config.py --workdir=runs/config' in first
  assert '--num_processes=2 --process_id=0 --local_device_ids=0' in first
  assert '--num_processes=2 --process_id=1 --local_device_ids=1' in second
  (port,) = {line.split('localhost:')[1].split()[0] for line in (first, second)}
  assert port.isdigit()


def test_a_config_that_is_installed_is_found_from_any_folder(launch):
  (line,) = planned(launch('--dry_run', origin='--config=configs/jrt_tiny.py'))
  assert '--config=configs/jrt_tiny.py --workdir=runs/jrt_tiny' in line


def test_choices_of_a_config_have_workdirs_of_their_own(launch):
  (line,) = planned(launch('--dry_run', '--config=config.py:relu'))
  assert '--config=config.py:relu --workdir=runs/config/relu' in line


@pytest.mark.parametrize(
    'origin',
    [
        '--from=first',
        '--config=first/config.json',
        '--config=recorded.py:first',
    ],
)
def test_what_a_run_has_recorded_starts_one_in_a_workdir_that_is_given(
    error_line, launch, run_first, origin
):
  del run_first
  (line,) = planned(launch('--dry_run', '--workdir=second', origin=origin))
  assert f'-m train {origin} --workdir=second --cluster=flags' in line
  done = launch('--dry_run', origin=origin)
  assert done.returncode == 2
  assert '--workdir must be given' in error_line(done.stderr)


def test_a_model_that_comes_along_starts_a_run(launch):
  origin = '--from=builtin:jrt_2m'
  (line,) = planned(launch('--dry_run', '--workdir=second', origin=origin))
  assert f'-m train {origin} --workdir=second' in line


def test_processes_take_several_gpus(launch):
  lines = planned(launch('--dry_run', '--devices_per_process=2', gpus=4))
  assert [line.split()[-1] for line in lines] == [
      '--local_device_ids=0,1',
      '--local_device_ids=2,3',
  ]


def test_without_gpus_devices_are_virtual(launch):
  (line,) = planned(launch('--dry_run'))
  assert 'local_device_ids' not in line and 'JAX_NUM' not in line
  done = launch('--dry_run', '--devices_per_process=2', JAX_PLATFORMS='cpu')
  (line,) = planned(done)
  assert line.startswith('JAX_NUM_CPU_DEVICES=2 ')
  # GPUs that may not be used are none.
  assert len(planned(launch('--dry_run', gpus=4, JAX_PLATFORMS='cpu'))) == 1
  assert (
      len(planned(launch('--dry_run', gpus=4, CUDA_VISIBLE_DEVICES='3'))) == 1
  )


# What `jrt_jax.plot` needs of a run whose loss is its rate; 3e-1 diverges.
ONE_OF_A_SWEEP = """
import json, pathlib, sys
flags = dict(x[2:].split('=', 1) for x in sys.argv[1:])
rate = float(flags['config.rate'])
if rate > 0.1:
  sys.exit(1)
workdir = pathlib.Path(flags['workdir'])
workdir.mkdir(parents=True)
config = {'batch_size': 1, 'sequence_length': 8, 'rate': rate}
(workdir / 'config.json').write_text(json.dumps(config))
line = {'step': 5, 'step_seconds': 0.1, 'next_token_loss': rate}
(workdir / 'metrics.jsonl').write_text(json.dumps(line) + '\\n')
"""


def test_the_runs_of_a_sweep_follow_each_other_and_are_compared(launch):
  done = launch('--sweep=config.rate=0.002,3e-1,0.004', train=ONE_OF_A_SWEEP)
  rows = [line.split() for line in done.stdout.splitlines()]
  assert rows[0] == 'run 1 of 3: runs/config/rate=0.002'.split()
  table = {row[0]: row for row in rows if row and row[0].startswith('rate=')}
  assert '0.002' in table['rate=0.002'] and '0.004' in table['rate=0.004']
  assert done.returncode == 1
  last = done.stderr.splitlines()[-1]
  assert last == 'error: the run in runs/config/rate=3e-1 failed'


def test_a_dry_run_prints_the_commands_of_a_sweep(launch):
  lines = planned(launch('--dry_run', '--sweep=config.seed=1,2', gpus=2))
  assert [line.split('--workdir=')[1].split()[0] for line in lines[:4]] == [
      *['runs/config/seed=1'] * 2,
      *['runs/config/seed=2'] * 2,
  ]
  assert "-m jrt_jax.plot '--workdir=runs/config/*/'" in lines[4]


def test_a_sweep_stops_when_a_run_is_told_to(launch):
  done = launch('--sweep=config.x=a,b', train='import sys; sys.exit(143)')
  assert done.returncode == 143
  assert 'run 1 of 2' in done.stdout and 'run 2 of 2' not in done.stdout


def test_further_flags_come_last_and_unchanged(launch):
  done = launch(
      *('--', '--config.a=b c', '--', 'x'),
      train='import sys; print(sys.argv[-3:])',
  )
  assert planned(done) == ["['--config.a=b c', '--', 'x']"]


@pytest.mark.parametrize(
    'arguments, gpus, message',
    [
        (['--processes=0'], 0, '--processes: must be positive, got 0'),
        (['--devices_per_process=-1'], 0, 'process: must be positive, got -1'),
        (['--processes=3'], 2, 'need 3 GPUs, but this machine has 2'),
        (['--config=no.py'], 0, "--config must be a file, got 'no.py'"),
        (['--from=first'], 0, '--from: not allowed with argument --config'),
        (['--proces=2'], 0, 'unrecognized arguments: --proces=2'),
        (
            ['--config.steps=3', '--config.a', 'b'],
            0,
            'unrecognized arguments: --config.steps=3 --config.a b (flags of'
            ' train must come after " -- ")',
        ),
    ],
)
def test_a_mistake_is_one_line(error_line, launch, arguments, gpus, message):
  done = launch(*arguments, gpus=gpus)
  assert done.returncode == 2
  assert message in error_line(done.stderr)


@pytest.mark.parametrize(
    'origin, message',
    [
        (
            '--workdir=second',
            'one of the arguments --config --from is required',
        ),
        ('--from=none', "--from must be a workdir, got 'none'; to continue"),
        ('--from=', "--from must be a workdir, got ''"),
        ('--from=builtin:x', "--from must be a workdir, got 'builtin:x'"),
    ],
)
def test_a_run_must_come_from_somewhere(error_line, launch, origin, message):
  done = launch('--dry_run', origin=origin)
  assert done.returncode == 2
  assert message in error_line(done.stderr)


def test_two_processes_meet(launch):
  done = launch(
      '--processes=2',
      '--devices_per_process=2',
      train=MEETING,
      JAX_PLATFORMS='cpu',
  )
  assert done.returncode == 0, done.stderr
  peers = 'processes: 2 on 1 node (flags), this one takes 2 CPU devices'
  assert peers in done.stdout and f'[1] {peers}' in done.stderr
  assert 'largest 41' in done.stdout and '[1] largest 41' in done.stderr
