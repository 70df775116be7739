"""JobSets: what they promise, what a pod finds, and how failures end."""

import pytest
import yaml

from jrt_jax.planning import microbatches
from jrt_jax.runtime import clusters
from launch import __main__ as launch_main

KUBECTL = """#!/bin/sh
echo "$@" > calls
cat "$3" >> calls
"""


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
  """A folder with a config and a pretended kubectl."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('PATH', f'{tmp_path}:/bin')
  (tmp_path / 'mine.py').write_text('')
  (tmp_path / 'kubectl').write_text(KUBECTL)
  (tmp_path / 'kubectl').chmod(0o755)
  return tmp_path


CONFIG = '--config=configs/jrt_360m.py'


def launch(*arguments, origin=CONFIG, volume='work:/mnt', flags=()):
  argv = ['kubernetes', origin, '--image=me/jrt:1']
  argv += [f'--volume={volume}', *arguments, '--', *flags]
  return launch_main.main(argv, 'train')


@pytest.fixture
def printed(capsys):
  """A function that returns the JobSets that a dry run prints."""

  def printed(*arguments, **options):
    assert launch('--dry_run', *arguments, **options) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))

  return printed


def job_of(jobset):
  (job,) = jobset['spec']['replicatedJobs']
  assert job['replicas'] == 1
  return job['template']['spec']


def pod_of(jobset):
  pod = job_of(jobset)['template']['spec']
  (container,) = pod['containers']
  return pod, container


def environment_of(jobset):
  _, container = pod_of(jobset)
  return {entry['name']: entry['value'] for entry in container['env']}


def test_each_node_has_a_pod_with_all_its_gpus(printed):
  (jobset,) = printed('--nodes=4', '--gpus_per_node=6', flags=['--config.a=$b'])
  assert jobset['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  job = job_of(jobset)
  assert job['completionMode'] == 'Indexed'
  assert job['completions'] == job['parallelism'] == 4
  _, container = pod_of(jobset)
  assert container['resources'] == {'limits': {'nvidia.com/gpu': 6}}
  assert container['command'] == [
      *('python', '-m', 'train', CONFIG),
      *('--workdir=/mnt/runs/jrt_360m', '--cluster=kubernetes'),
      '--config.a=$b',
  ]
  share = float(environment_of(jobset)['XLA_PYTHON_CLIENT_MEM_FRACTION'])
  assert share == microbatches.SHARES['with launch on a cluster']


@pytest.mark.parametrize('nodes', [1, 3])
def test_pods_find_each_other(printed, nodes):
  (jobset,) = printed(f'--nodes={nodes}')
  name = jobset['metadata']['name']
  for index in range(nodes):
    # What Kubernetes adds.
    own = {
        'JOB_COMPLETION_INDEX': str(index),
        'HOSTNAME': f'{name}-train-0-{index}',
        'KUBERNETES_SERVICE_HOST': '10.0.0.1',
    }
    environment = environment_of(jobset) | own
    _, place = clusters.find('kubernetes', environment, clusters.Place())
    assert (place.num_processes, place.process_id) == (nodes, index)
    # The host name of the first pod, in the headless service of the JobSet.
    host, _, port = place.coordinator.partition(':')
    assert host == f'{name}-train-0-0.{name}' and 1024 < int(port) < 2**16
    found, _ = clusters.find('auto', environment, clusters.Place())
    assert found == ('kubernetes' if nodes > 1 else 'none')


def action(jobset, reason):
  """What the first rule does that fits, as in the controller of JobSets."""
  for rule in jobset['spec']['failurePolicy']['rules']:
    assert rule.keys() == {'name', 'action', 'onJobFailureReasons'}
    if reason in rule['onJobFailureReasons']:
      return rule['action']
  return 'RestartJobSet'


def test_a_saved_run_continues_and_failures_are_counted(printed):
  (jobset,) = printed('--max_restarts=7')
  assert jobset['spec']['failurePolicy']['maxRestarts'] == 7
  job = job_of(jobset)
  assert job['backoffLimit'] == 0
  codes, condition = job['podFailurePolicy']['rules']
  assert codes['action'] == condition['action'] == 'FailJob'
  # JobSet's schema requires a status, though Kubernetes has a default.
  (disrupted,) = condition['onPodConditions']
  assert disrupted == {'type': 'DisruptionTarget', 'status': 'True'}
  (container,) = job['template']['spec']['containers']
  assert codes['onExitCodes'] == {
      'containerName': container['name'],
      'operator': 'In',
      'values': [128 + 15],  # not 2, as a file system may come back
  }
  # Reasons of a job that fails by its podFailurePolicy, and of any other.
  restart = 'RestartJobSetAndIgnoreMaxRestarts'
  assert action(jobset, 'PodFailurePolicy') == restart
  assert action(jobset, 'BackoffLimitExceeded') == 'RestartJobSet'


def test_a_pod_has_time_to_save_and_memory_to_share(printed):
  (jobset,) = printed('--volume=pile:/data/pile/')
  pod, container = pod_of(jobset)
  assert pod['restartPolicy'] == 'Never'  # podFailurePolicy needs it
  assert pod['terminationGracePeriodSeconds'] == 300
  paths = {x['name']: x['mountPath'] for x in container['volumeMounts']}
  volumes = {paths[volume['name']]: volume for volume in pod['volumes']}
  assert len(paths) == len(volumes) == 3
  assert volumes['/dev/shm']['emptyDir'] == {'medium': 'Memory'}
  for path, claim in ('/mnt', 'work'), ('/data/pile', 'pile'):
    assert volumes[path]['persistentVolumeClaim'] == {'claimName': claim}


def test_further_options_of_clusters(printed):
  (jobset,) = printed(
      *('--namespace=team', '--queue=gpus', '--secret=wandb'),
      *('--resource=memory=1Ti', '--resource=rdma/hca=8'),
      '--node_selector=cloud.google.com/gke-accelerator=nvidia-h100-80gb',
      flags=['--config.x=$(HOME)'],
  )
  assert jobset['metadata']['namespace'] == 'team'
  labels = jobset['metadata']['labels']
  assert labels == {'kueue.x-k8s.io/queue-name': 'gpus'}
  pod, container = pod_of(jobset)
  limits = container['resources']['limits']
  assert limits == {'nvidia.com/gpu': 8, 'memory': '1Ti', 'rdma/hca': '8'}
  assert pod['nodeSelector'] == {
      'cloud.google.com/gke-accelerator': 'nvidia-h100-80gb'
  }
  assert container['envFrom'] == [{'secretRef': {'name': 'wandb'}}]
  assert container['command'][-1] == '--config.x=$$(HOME)'  # Kubernetes' escape


def test_the_runs_of_a_sweep_are_jobsets_of_their_own(printed):
  jobsets = printed('--sweep=config.seed=1,2', '--workdir=my_sweep')
  names = [jobset['metadata']['name'] for jobset in jobsets]
  assert names == ['my-sweep-0', 'my-sweep-1']
  for seed, jobset in zip('12', jobsets):
    _, container = pod_of(jobset)
    assert f'--workdir=/mnt/my_sweep/seed={seed}' in container['command']
    assert f'--config.seed={seed}' in container['command']
    address = environment_of(jobset)['JAX_COORDINATOR_ADDRESS']
    assert address.startswith(f'{jobset["metadata"]["name"]}-train-0-0.')


@pytest.mark.parametrize(
    'workdir, name',
    [
        ('runs/jrt_360m', 'jrt-360m'),
        ('/mnt/runs/360M v2.', 'run-360m-v2'),
        ('/mnt/runs/small/../rates/run1', 'rates-run1'),
        ('other/run1', 'other-run1'),
        ('x' * 35, 'x' * 35),
    ],
)
def test_names_are_those_that_dns_takes(printed, workdir, name):
  (jobset,) = printed(f'--workdir={workdir}')
  assert jobset['metadata']['name'] == name
  assert len(f'{name}-999-train-0-9999-abcde') <= 63


def test_different_runs_have_different_names_and_files(here, printed):
  workdirs = [f'{"long" * 10}/{x}/run1' for x in 'ab'] + ['a/run1', 'b/run1']
  names = set()
  for workdir in workdirs:
    (jobset,) = printed(f'--workdir={workdir}')
    names.add(jobset['metadata']['name'])
    assert launch(f'--workdir={workdir}') == 0
    assert (here / 'runs' / workdir / 'jobset.yaml').exists()
  assert len(names) == len(workdirs) and max(map(len, names)) == 35


def test_who_continues_a_run_learns_which_jobset_to_delete_first(here, capfd):
  (here / 'kubectl').write_text('#!/bin/sh\necho AlreadyExists >&2; exit 1\n')
  assert launch('--namespace=team') == 1
  exists, advice = capfd.readouterr().err.splitlines()
  assert exists == 'AlreadyExists'
  assert 'kubectl delete jobset jrt-360m --namespace=team, and the' in advice


def test_what_is_printed_is_what_is_submitted(here, capsys):
  assert launch('--dry_run', '--nodes=2') == 0
  said = capsys.readouterr()
  assert said.err.splitlines() == [
      'would write runs/jrt_360m/jobset.yaml',
      'would run: kubectl create -f runs/jrt_360m/jobset.yaml',
  ]
  assert not (here / 'runs').exists()
  assert launch('--nodes=2') == 0
  text = (here / 'runs/jrt_360m/jobset.yaml').read_text()
  command = 'create -f runs/jrt_360m/jobset.yaml\n'
  assert text == said.out and (here / 'calls').read_text() == command + text


@pytest.mark.parametrize(
    'arguments, options, message',
    [
        (['--nodes=0'], {}, 'argument --nodes: must be positive, got 0'),
        (['--max_restarts=-1'], {}, 'must not be negative, got -1'),
        (['--resource=memory'], {}, "--resource must be NAME=VALUE, got 'mem"),
        ([], {'volume': 'work'}, "--volume must be SOURCE:/PATH, got 'work'"),
        ([], {'volume': 'work:x'}, "must be SOURCE:/PATH, got 'work:x'"),
        ([], {'volume': 's3://b:/mnt'}, "PATH, got the name 's3://b'"),
        (['--volume=b:/mnt/'], {}, 'each path once, got /mnt twice'),
        (
            ['--workdir=/tmp/run'],
            {},
            "--workdir must be in a volume (/mnt), got '/tmp/run': what is",
        ),
        (['--workdir=../run'], {}, "in a volume (/mnt), got '/run'"),
        ([], {'origin': '--config=no.py'}, "must be a file, got 'no.py'"),
        (
            [],
            {'origin': '--config=mine.py'},
            '--config must be a file of configs/, which the image has, or an'
            " absolute path in a volume, got 'mine.py'",
        ),
    ],
)
def test_a_mistake_is_one_line(error_line, capsys, arguments, options, message):
  assert launch('--dry_run', *arguments, **options) == 2
  printed = capsys.readouterr()
  assert message in error_line(printed.err) and not printed.out


@pytest.mark.parametrize(
    'origin, found',
    [
        ('--config=/mnt/mine.py', '--config=/mnt/mine.py'),
        ('--config=runs/a/config.json', '--config=/mnt/runs/a/config.json'),
        ('--from=runs/a', '--from=/mnt/runs/a'),
        ('--from=/mnt/runs/a', '--from=/mnt/runs/a'),
        ('--from=builtin:jrt_2m', '--from=builtin:jrt_2m'),
    ],
)
def test_what_only_the_volume_has_is_not_looked_for_here(
    printed, origin, found
):
  (jobset,) = printed('--workdir=b', origin=origin)
  _, container = pod_of(jobset)
  assert found in container['command']


def test_without_kubectl_the_reader_learns_what_to_do(monkeypatch, capsys):
  monkeypatch.setenv('PATH', '/nowhere')
  assert launch() == 2
  assert 'kubectl is not on the PATH: submit from a' in capsys.readouterr().err
