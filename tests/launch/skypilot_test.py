"""Tasks of SkyPilot: what they ask for, and what a node of them runs."""

import json
import os
import subprocess

import pytest
import yaml

from jrt_jax.runtime import clusters
from launch import __main__ as launch_main

TRAIN = """
import json, os, sys
names = [x for x in os.environ if x[:4] in ('SKYP', 'NCCL', 'XLA_')]
found = [sys.argv[1:], {name: os.environ[name] for name in names}]
json.dump(found, open('found.json', 'w'))
"""
# As on the second of two nodes.
NODE = {
    'SKYPILOT_NODE_IPS': '10.0.0.4\n10.0.0.7',
    'SKYPILOT_NODE_RANK': '1',
    'SKYPILOT_NUM_GPUS_PER_NODE': '8',
    'SKYPILOT_NUM_NODES': '2',
    'SKYPILOT_TASK_ID': 'sky-managed-2026-07-06-21-18-31_jrt-360m_1-0',
}
SKY = """#!/bin/sh
echo "$@" >> calls
"""


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
  """A folder with a config and a pretended sky."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
  monkeypatch.setenv('HOME', str(tmp_path))
  (tmp_path / 'train.py').write_text(TRAIN)
  (tmp_path / 'jrt_360m.py').write_text('')
  (tmp_path / 'sky').write_text(SKY)
  (tmp_path / 'sky').chmod(0o755)
  return tmp_path


CONFIG = '--config=jrt_360m.py'


def launch(*arguments, origin=CONFIG, volume='work:/mnt', flags=()):
  argv = ['skypilot', origin, f'--volume={volume}', *arguments, '--', *flags]
  return launch_main.main(argv, 'train')


@pytest.fixture
def printed(capsys):
  """A function that returns the tasks that a dry run prints."""

  def printed(*arguments, **options):
    assert launch('--dry_run', *arguments, **options) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))

  return printed


def run(task, **environment):
  """Runs `setup` and `run` as SkyPilot does on a node; returns what ran."""
  for script in task.get('setup', ''), task['run']:
    subprocess.run(
        ['bash', '-e', '-c', script],
        env=os.environ | task['envs'] | environment,
        check=True,
    )
  return json.load(open('found.json'))


def test_a_task_asks_for_nodes_and_comes_back_after_failures(printed):
  (task,) = printed('--nodes=2', '--gpu=H200', '--gpus_per_node=4')
  assert (task['name'], task['num_nodes']) == ('jrt-360m', 2)
  assert task['resources'] == {
      'accelerators': 'H200:4',
      'job_recovery': {'max_restarts_on_errors': 3},
  }
  assert task['workdir'] == '.'
  (task,) = printed('--spot', '--infra=gcp', '--image=a:1', '--max_restarts=0')
  assert task['resources'] == {
      'accelerators': 'H100:8',
      'use_spot': True,
      'infra': 'gcp',
      'image_id': 'docker:a:1',
      'job_recovery': {'max_restarts_on_errors': 0},
  }


def test_a_node_runs_one_process_that_finds_the_others(printed, here):
  flags = ["--config.x=('a', '$b')", '--config.steps=3']
  arguments = ['--nodes=2', '--python=python3', '--setup=touch "made here"']
  (task,) = printed(*arguments, flags=flags)
  argv, environment = run(task, **NODE)
  assert argv == [
      *('--config=jrt_360m.py', '--workdir=/mnt/runs/jrt_360m'),
      *('--cluster=skypilot', *flags),
  ]
  assert (here / 'made here').exists()
  assert environment['NCCL_DEBUG'] == 'WARN'
  _, place = clusters.find('skypilot', environment, clusters.Place())
  assert place.coordinator.startswith('10.0.0.4:')
  assert (place.num_processes, place.process_id) == (2, 1)


def test_a_node_alone_is_a_run_of_one_process(printed):
  (task,) = printed('--python=python3', '--setup=true')
  alone = {'SKYPILOT_NODE_IPS': '10.0.0.4', 'SKYPILOT_NODE_RANK': '0'}
  _, environment = run(task, **NODE | alone)
  _, place = clusters.find('skypilot', environment, clusters.Place())
  assert (place.num_processes, place.process_id) == (1, 0)


def test_by_default_the_folder_is_installed_where_it_is_run(printed, here):
  (here / '.local/bin').mkdir(parents=True)
  uv = here / '.local/bin/uv'  # where SkyPilot has it
  uv.write_text(
      '#!/bin/bash\necho "$@" >> uv_calls\n'
      '[ "$1" = pip ] || { mkdir -p .venv/bin; ln -s $(which python3) .venv/bin'
      '/python; }\n'
  )
  uv.chmod(0o755)
  (task,) = printed()
  run(task, **NODE)
  run(task, **NODE)  # a node that is there already
  assert (here / 'uv_calls').read_text().splitlines() == [
      'venv --python=3.12 .venv',
      *['pip install --python=.venv/bin/python -e .[cuda13]'] * 2,
  ]


def test_an_image_needs_no_setup(printed):
  (task,) = printed('--image=me/jrt:1')
  assert 'setup' not in task and task['run'].startswith('python -m train \\')


def test_buckets_are_mounted_so_that_files_can_grow(printed):
  (task,) = printed('--volume=pvc:/data', volume='s3://mine/runs:/mnt')
  assert task['file_mounts'] == {
      '/mnt': {'source': 's3://mine/runs', 'mode': 'MOUNT_CACHED'}
  }
  assert task['volumes'] == {'/data': 'pvc'}
  (task,) = printed('--nodes=2', '--volume=gs://shards:/data')
  assert task['file_mounts'].keys() == {'/data'}  # which nobody writes to
  assert task['volumes'] == {'/mnt': 'work'}


def test_another_run_is_found_in_the_first_volume(printed):
  (task,) = printed('--workdir=runs/second', origin='--from=runs/first')
  assert 'train \\\n  --from=/mnt/runs/first' in task['run']


def test_the_runs_of_a_sweep_are_jobs_of_their_own(here, printed, capsys):
  tasks = printed('--sweep=config.seed=1,2')
  assert [task['name'] for task in tasks] == ['jrt-360m-0', 'jrt-360m-1']
  assert '--workdir=/mnt/runs/jrt_360m/seed=2' in tasks[1]['run']
  assert not (here / 'runs').exists()
  assert launch('--sweep=config.seed=1,2') == 0
  paths = [f'runs/jrt_360m/jrt-360m-{k}.sky.yaml' for k in range(2)]
  assert (here / 'calls').read_text().splitlines() == [
      f'jobs launch --detach-run --yes {path}' for path in paths
  ]
  assert [yaml.safe_load((here / x).read_text()) for x in paths] == tasks


def test_sky_asks_before_one_run_and_does_not_wait_for_its_end(here):
  assert launch() == 0
  command = 'jobs launch --detach-run runs/jrt_360m/jrt-360m.sky.yaml\n'
  assert (here / 'calls').read_text() == command


@pytest.mark.parametrize(
    'arguments, options, message',
    [
        (['--nodes=0'], {}, 'argument --nodes: must be positive, got 0'),
        (['--nodes=two'], {}, "--nodes: must be a whole number, got 'two'"),
        (['--max_restarts=-1'], {}, 'must not be negative, got -1'),
        ([], {'volume': 's3://mine'}, "SOURCE:/PATH, got 's3://mine'"),
        (
            ['--nodes=2'],
            {'volume': 's3://mine:/mnt'},
            '--volume must be a volume of SkyPilot with --nodes=2, got s3://mi',
        ),
        (
            ['--workdir=/x'],
            {},
            "--workdir must be in a volume (/mnt), got '/x'",
        ),
    ],
)
def test_a_mistake_is_one_line(error_line, capsys, arguments, options, message):
  assert launch('--dry_run', *arguments, **options) == 2
  printed = capsys.readouterr()
  assert message in error_line(printed.err) and not printed.out
