"""Submits a run as a JobSet, with one pod and one process for each node.

Needs JobSet 0.10 or newer in the cluster, and an image in which jrt_jax is
installed. A pod that is evicted gets SIGTERM: all processes save and end, and
the JobSet starts anew and continues the run.
"""

import argparse
import pathlib
import re
import shlex
from typing import Any

from launch import submission
from launch import volumes as volumes_lib
from launch import yaml
from launch.runs import Run

_PORT = 8476
_GRACE = 300  # seconds between SIGTERM and SIGKILL; a run saves in this time

SAVED = 143  # the exit code of jrt_jax.train after SIGTERM


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this launcher."""
  submission.add_size(parser)
  parser.add_argument(
      '--image', required=True, help='the image, in which jrt_jax is installed'
  )
  volumes_lib.add_argument(parser, 'a PersistentVolumeClaim, at PATH')
  submission.add_restarts(parser, default=5)
  for name, metavar, what in (
      ('resource', 'NAME=COUNT', 'a further resource of each node: memory=1Ti'),
      ('node_selector', 'LABEL=VALUE', 'a label that nodes must have'),
  ):
    parser.add_argument(
        f'--{name}', action='append', default=[], metavar=metavar, help=what
    )
  parser.add_argument(
      '--secret',
      action='append',
      default=[],
      help='a Secret whose keys become environment variables',
  )
  parser.add_argument('--namespace', help='the namespace of the JobSet')
  parser.add_argument('--queue', help='a local queue of Kueue')


def run(arguments: argparse.Namespace, runs: list[Run]) -> int:
  """Writes the JobSets and submits them; returns the exit code.

  Raises:
    ValueError: an option cannot be right.
    OSError: the file cannot be written, or there is no kubectl.
  """
  names = submission.job_names(arguments.workdir, len(runs))
  documents = [
      yaml.text(jobset(arguments, one, name)) for one, name in zip(runs, names)
  ]
  path = submission.file(arguments.workdir, 'jobset.yaml')
  return submission.submit(
      {path: '---\n'.join(documents)},
      [['kubectl', 'create', '-f', path]],
      dry_run=arguments.dry_run,
      advice='submit from a machine that reaches the cluster',
      refused='if the JobSet exists and has ended, this lets its run continue:'
      f' {_deletion(arguments, names)}, and the same command again',
  )


def _deletion(arguments, names):
  space = [f'--namespace={arguments.namespace}'] if arguments.namespace else []
  return shlex.join(['kubectl', 'delete', 'jobset', *names, *space])


def jobset(
    arguments: argparse.Namespace, run: Run, name: str
) -> dict[str, Any]:
  """Returns the JobSet of a run.

  Raises:
    ValueError: an option cannot be right.
  """
  _check_config(run)
  metadata = {'name': name}
  if arguments.namespace:
    metadata['namespace'] = arguments.namespace
  if arguments.queue:
    metadata['labels'] = {'kueue.x-k8s.io/queue-name': arguments.queue}
  job = {
      'name': 'train',
      'replicas': 1,
      'template': {'spec': _job(arguments, run, name)},
  }
  return {
      'apiVersion': 'jobset.x-k8s.io/v1alpha2',
      'kind': 'JobSet',
      'metadata': metadata,
      'spec': {
          'network': {'enableDNSHostnames': True},  # a headless service
          'failurePolicy': _failure_policy(arguments),
          'replicatedJobs': [job],
      },
  }


def _check_config(run):
  flag, _, path = run.origin.partition('=')
  folder = pathlib.PurePath(path).parts[0]
  if flag == '--config' and folder not in ('configs', '/'):
    raise ValueError(
        '--config must be a file of configs/, which the image has, or an'
        f' absolute path in a volume, got {path!r}'
    )


def _failure_policy(arguments):
  """Counts all restarts except those after what `_job` lists.

  A mistake (exit code 2) is no exception: files that cannot be read are also
  one, and a file system may only be slow to come back.
  """
  saved = {
      'name': 'saved',
      'action': 'RestartJobSetAndIgnoreMaxRestarts',
      'onJobFailureReasons': ['PodFailurePolicy'],
  }
  return {'maxRestarts': arguments.max_restarts, 'rules': [saved]}


def _job(arguments, run, name):
  codes = {
      'containerName': 'train',
      'operator': 'In',
      'values': [SAVED],
  }
  return {
      'completionMode': 'Indexed',
      'completions': arguments.nodes,
      'parallelism': arguments.nodes,
      'backoffLimit': 0,  # one process alone cannot start anew
      'podFailurePolicy': {
          'rules': [
              {'action': 'FailJob', 'onExitCodes': codes},
              {
                  'action': 'FailJob',
                  'onPodConditions': [
                      {'type': 'DisruptionTarget', 'status': 'True'}
                  ],
              },
          ]
      },
      'template': {'spec': _pod(arguments, run, name)},
  }


def _pod(arguments, run, name):
  volumes = volumes_lib.parse(arguments.volume)
  for source, _ in volumes:
    if not re.fullmatch('[a-z0-9]([a-z0-9.-]*[a-z0-9])?', source):
      raise ValueError(
          '--volume must be the name of a PersistentVolumeClaim and :/PATH, got'
          f' the name {source!r}'
      )
  run, _ = volumes_lib.place(run, volumes)
  resources = {
      'nvidia.com/gpu': arguments.gpus_per_node,
      **_pairs('resource', arguments),
  }
  mounts = {f'volume-{k}': volume.path for k, volume in enumerate(volumes)}
  mounts['shared-memory'] = '/dev/shm'  # of which NCCL needs more than 64 MiB
  command = run.command('python', '--cluster=kubernetes')
  container = {
      'name': 'train',
      'image': arguments.image,
      'command': [word.replace('$(', '$$(') for word in command],
      'env': [
          {'name': key, 'value': value}
          for key, value in _environment(arguments, name).items()
      ],
      'resources': {'limits': resources},
      'volumeMounts': [
          {'name': key, 'mountPath': path} for key, path in mounts.items()
      ],
  }
  if arguments.secret:
    container['envFrom'] = [
        {'secretRef': {'name': name}} for name in arguments.secret
    ]
  pod = {
      'restartPolicy': 'Never',
      'terminationGracePeriodSeconds': _GRACE,
      'containers': [container],
      'volumes': [
          *(
              {
                  'name': f'volume-{k}',
                  'persistentVolumeClaim': {'claimName': volume.source},
              }
              for k, volume in enumerate(volumes)
          ),
          {'name': 'shared-memory', 'emptyDir': {'medium': 'Memory'}},
      ],
  }
  if selector := _pairs('node_selector', arguments):
    pod['nodeSelector'] = selector
  return pod


def _environment(arguments, name):
  """Variables that jrt_jax.runtime.schedulers reads, besides the pod's index."""
  return {
      'JAX_COORDINATOR_ADDRESS': f'{name}-train-0-0.{name}:{_PORT}',
      'JAX_NUM_PROCESSES': str(arguments.nodes),
      **submission.ENVIRONMENT,
  }


def _pairs(name, arguments):
  pairs = {}
  for text in vars(arguments)[name]:
    key, equals, value = text.partition('=')
    if not (key and equals and value):
      raise ValueError(f'--{name} must be NAME=VALUE, got {text!r}')
    pairs[key] = value
  return pairs
