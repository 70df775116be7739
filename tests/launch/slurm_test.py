"""Job files, run by pretended `sbatch`, `srun` and `scontrol`."""

import json
import pathlib
import subprocess

import pytest

from jrt_jax.planning import microbatches
from launch import __main__ as launch_main

# Runs the job as SLURM does: its options are comments, its number is known.
SBATCH = """#!/bin/sh
echo "$@" > "$CALLS/sbatch"
SLURM_JOB_ID=4711 bash "$1"
"""
# Skips its own options, and starts two tasks of a step.
SRUN = """#!/bin/sh
echo "$@" > "$CALLS/srun"
while [ "${1#--}" != "$1" ]; do shift; done
export SLURM_STEP_ID=0 SLURM_STEP_NODELIST='n[1-2]' SLURM_STEP_NUM_TASKS=2
SLURM_PROCID=1 "$@"
SLURM_PROCID=0 "$@"
code=$?
[ -z "$CANCELLED" ] || kill -TERM $PPID
exit $code
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$CALLS/scontrol"
"""
TRAIN = """
import json, os, sys
name = os.path.join(os.environ['CALLS'], 'task' + os.environ['SLURM_PROCID'])
seen = {k: v for k, v in os.environ.items() if k[:3] in ('NCC', 'XLA', 'SET')}
json.dump([sys.argv[1:], seen, os.getcwd()], open(name, 'w'))
sys.exit(int(os.environ['CODE']))
"""


@pytest.fixture
def cluster(monkeypatch, tmp_path):
  """A directory from which jobs are submitted; calls are noted in `calls`."""
  here = tmp_path / 'a project'
  for directory in 'bin', 'calls', 'a project':
    (tmp_path / directory).mkdir()
  for name, text in dict(sbatch=SBATCH, srun=SRUN, scontrol=SCONTROL).items():
    (tmp_path / 'bin' / name).write_text(text)
    (tmp_path / 'bin' / name).chmod(0o755)
  (here / 'train.py').write_text(TRAIN)
  (here / 'jrt_360m.py').write_text('')
  monkeypatch.chdir(here)
  monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:/usr/bin:/bin')
  monkeypatch.setenv('CALLS', str(tmp_path / 'calls'))
  monkeypatch.setenv('CODE', '0')
  monkeypatch.delenv('NCCL_DEBUG', raising=False)
  return tmp_path


def launch(*arguments):
  argv = ['slurm', '--config=jrt_360m.py', *arguments]
  return launch_main.main(argv, 'train')


def printed(capsys, *arguments):
  """Returns the job file, which bash can read."""
  assert launch('--dry_run', *arguments) == 0
  text = capsys.readouterr().out
  subprocess.run(['bash', '-n'], input=text, text=True, check=True)
  return text


def options(text):
  return {
      line.removeprefix('#SBATCH --')
      for line in text.splitlines()
      if line.startswith('#SBATCH')
  }


def test_a_job_has_one_process_for_each_gpu(cluster, capsys):
  del cluster
  text = printed(capsys, '--nodes=2', '--time=1-00', '--partition=gpu')
  assert options(text) >= {
      'job-name=jrt_360m',
      'nodes=2',
      'ntasks-per-node=8',
      'gpus-per-node=8',
      'cpus-per-task=8',
      'time=1-00',
      'partition=gpu',
      'requeue',
      'signal=TERM@120',
      'open-mode=append',
  }
  assert 'srun --kill-on-bad-exit=1 --cpus-per-task=8 --cpu-bind=cores' in text
  assert not (pathlib.Path.cwd() / 'runs').exists()  # nothing but printed


def test_further_options_are_added_or_replace_ours(cluster, capsys):
  del cluster
  text = printed(
      capsys,
      '--gpus_per_node=4',
      '--account=a b',
      *('--sbatch', 'exclusive', '--sbatch', 'signal=TERM@300'),
      *('--srun', 'mpi=none', '--container', 'nvcr.io/nvidia/jax:26.06-py3'),
  )
  assert options(text) >= {'exclusive', 'signal=TERM@300', "account='a b'"}
  assert 'signal=TERM@120' not in text
  assert '--mpi=none' in text
  assert '--container-image=nvcr.io/nvidia/jax:26.06-py3' in text
  assert '\n  python -m train' in text  # the container's


def test_further_mounts_leave_the_project_mounted(cluster, capsys):
  here = cluster / 'a project'
  text = printed(
      capsys,
      '--container=image',
      *('--srun', 'container-mounts=/data:/data', '--srun=container-mounts=/x'),
  )
  assert f"--container-mounts='{here}:{here},/data:/data,/x'" in text
  text = printed(
      capsys,
      '--container=image',
      *('--no_srun=container-mounts', '--srun=container-mounts=/x'),
  )
  assert '--container-mounts=/x ' in text


def test_a_workdir_elsewhere_is_mounted_as_well(cluster, capsys):
  here = cluster / 'a project'
  text = printed(capsys, '--container=image', '--workdir=/scratch/run')
  mounts = f"'{here}:{here},/scratch/run:/scratch/run'"
  assert f'--container-mounts={mounts} ' in text


def test_where_links_of_a_workdir_lead_is_mounted_as_well(cluster, capsys):
  here, scratch = cluster / 'a project', cluster / 'scratch'
  scratch.mkdir()
  (here / 'runs').symlink_to(scratch)
  (cluster / 'link').symlink_to(scratch)
  for workdir, folders in (
      ('runs/run', [scratch / 'run']),
      ('../scratch/run', [scratch / 'run']),
      (f'{here}/../scratch/run', [scratch / 'run']),
      (f'{cluster}/link/run', [cluster / 'link/run', scratch / 'run']),
      ('../a project/run', []),
  ):
    text = printed(capsys, '--container=image', f'--workdir={workdir}')
    mounts = ','.join(f'{x}:{x}' for x in [here, *folders])
    assert f"--container-mounts='{mounts}' " in text, workdir


def test_each_task_of_an_array_has_a_run_of_a_sweep(cluster, monkeypatch):
  sweep = ['--sweep=config.seed=1,2', "--sweep=config.x=('a','b'),$c"]
  monkeypatch.setenv('SLURM_ARRAY_TASK_ID', '3')
  assert launch(*sweep, '--', '--config.y=0') == 0
  text = (cluster / 'a project/runs/jrt_360m/job.sbatch').read_text()
  assert options(text) >= {'array=0-3', 'job-name=jrt_360m'}
  assert 'slurm-%A_%a.log' in text
  argv, _, _ = json.loads((cluster / 'calls' / 'task0').read_text())
  assert argv == [
      '--config=jrt_360m.py',
      '--workdir=runs/jrt_360m/seed=2+x=_c',
      '--config.seed=2',
      '--config.x=$c',
      '--cluster=slurm',
      '--config.y=0',
  ]


def test_a_dry_run_says_on_stderr_what_it_would_do(cluster, capsys):
  assert launch('--dry_run') == 0
  assert capsys.readouterr().err.splitlines() == [
      'would write runs/jrt_360m/job.sbatch',
      'would run: sbatch runs/jrt_360m/job.sbatch',
  ]
  assert not any((cluster / 'calls').iterdir())


@pytest.mark.parametrize('dashes', ['', '--'])  # as SLURM has them
def test_options_of_ours_can_be_left_out(cluster, capsys, dashes):
  del cluster
  text = printed(
      capsys,
      *(f'--no_sbatch={dashes}gpus-per-node', f'--sbatch={dashes}gres=gpu:8'),
      *(f'--no_sbatch={dashes}requeue', f'--no_srun={dashes}cpu-bind'),
  )
  assert options(text).isdisjoint({'gpus-per-node=8', 'requeue'})
  assert 'gres=gpu:8' in options(text)
  assert 'cpu-bind' not in text


def test_what_is_submitted_trains(cluster):
  code = launch(
      *('--workdir', 'runs/my run', '--setup', 'export SETUP="it is"'),
      *('--', '--config.data.path=pile/*.jsonl', "--config.x=('a', '$b')"),
  )
  assert code == 0
  calls = cluster / 'calls'
  assert (calls / 'sbatch').read_text() == 'runs/my run/job.sbatch\n'
  for task in 'task0', 'task1':
    argv, environment, directory = json.loads((calls / task).read_text())
    assert argv == [
        '--config=jrt_360m.py',
        '--workdir=runs/my run',
        '--cluster=slurm',
        '--config.data.path=pile/*.jsonl',
        "--config.x=('a', '$b')",
    ]
    assert environment['SETUP'] == 'it is'
    assert environment['NCCL_DEBUG'] == 'WARN'
    share = float(environment['XLA_PYTHON_CLIENT_MEM_FRACTION'])
    assert share == microbatches.SHARES['with launch on a cluster']
    assert directory == str(cluster / 'a project')
  assert not (calls / 'scontrol').exists()


def test_a_job_starts_from_another_run(cluster, capsys):
  first = cluster / 'a project' / 'the first'
  first.mkdir()
  (first / 'config.json').write_text('{}')
  argv = ['slurm', '--from=the first', '--dry_run']
  assert launch_main.main([*argv, '--workdir=second'], 'train') == 0
  text = capsys.readouterr().out
  assert "train \\\n  '--from=the first' \\\n  --workdir=second" in text
  assert 'job-name=second' in options(text)
  assert launch_main.main(argv, 'train') == 2
  assert 'error: --workdir must be given' in capsys.readouterr().err


def test_what_the_user_has_set_stays(cluster, monkeypatch):
  monkeypatch.setenv('NCCL_DEBUG', 'INFO')
  assert launch() == 0
  _, environment, _ = json.loads((cluster / 'calls' / 'task0').read_text())
  assert environment['NCCL_DEBUG'] == 'INFO'


@pytest.mark.parametrize('code', [0, 1, 2, 134, 137, 143, 200])
def test_a_job_is_requeued_only_after_sigterm_and_when_it_is_stuck(
    cluster, monkeypatch, code
):
  monkeypatch.setenv('CODE', str(code))
  assert launch('--setup', 'set -eu') == code
  requeued = cluster / 'calls' / 'scontrol'
  assert requeued.exists() == (code in (143, 200))
  if requeued.exists():
    assert requeued.read_text() == 'requeue 4711\n'


def test_a_cancelled_job_is_not_requeued(cluster, monkeypatch):
  monkeypatch.setenv('CODE', '143')
  monkeypatch.setenv('CANCELLED', 'yes')  # the script gets SIGTERM as well
  assert launch() != 0
  assert not (cluster / 'calls' / 'scontrol').exists()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--nodes=0'], 'argument --nodes: must be positive, got 0'),
        (['--gpus_per_node=-8'], '--gpus_per_node: must be positive, got -8'),
        (['--nodes=two'], "--nodes: must be a whole number, got 'two'"),
        (['--sbatch', '9=a'], "--sbatch must be KEY or KEY=VALUE, got '9=a'"),
        (
            ['--no_srun=mpi'],
            '--no_srun must be one of kill-on-bad-exit, cpus-per-task,'
            " cpu-bind, got 'mpi'",
        ),
        (['--account=a\nb'], "must be one line, got 'a\\nb'"),
        (['--setup', 'if ['], '--setup must be valid bash'),
    ],
)
def test_a_mistake_is_one_line(cluster, capsys, arguments, message):
  del cluster
  code = launch('--dry_run', *arguments)
  printed = capsys.readouterr()
  assert (code, printed.out) == (2, '')
  assert printed.err.startswith('error: ') and message in printed.err
  assert len(printed.err.splitlines()) == 1


def test_without_sbatch_the_reader_learns_what_to_do(cluster, capsys):
  (cluster / 'bin' / 'sbatch').unlink()
  assert launch() == 2
  message = 'submit from a login node of the cluster (sbatch runs/jrt_360m/job'
  assert message in capsys.readouterr().err


def test_a_workdir_that_cannot_be_written_is_named(cluster, capsys):
  (cluster / 'a project' / 'taken').write_text('')
  assert launch('--workdir=taken') == 2
  assert capsys.readouterr().err == (
      'error: taken/job.sbatch must be a file that can be written: File exists'
      '\n'
  )
