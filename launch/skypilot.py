"""Submits a run as a managed job of SkyPilot, on any cloud.

The folder from which it is submitted is copied to the nodes of the job. On each
node one process uses all GPUs. If a node is lost, as spot instances are,
SkyPilot starts the job on other nodes, and it continues the run from its volume.
"""

import argparse
from typing import Any

from launch import submission
from launch import volumes as volumes_lib
from launch import yaml
from launch.runs import Run

# By default, what the folder has is installed, by the uv of SkyPilot.
_PYTHON = '.venv/bin/python'
_SETUP = (
    'export PATH="$HOME/.local/bin:$PATH"',
    'test -d .venv || uv venv --python=3.12 .venv',
    f"uv pip install --python={_PYTHON} -e '.[cuda13]'",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this launcher."""
  submission.add_size(parser)
  parser.add_argument(
      '--gpu', default='H100', help='as in `sky gpus list`; default: H100'
  )
  volumes_lib.add_argument(
      parser,
      'a bucket (s3://NAME, gs://NAME) or a volume of SkyPilot (NAME), at PATH',
  )
  parser.add_argument(
      '--spot',
      action='store_true',
      help='cheaper nodes, which may be taken away',
  )
  submission.add_restarts(parser, default=3)
  parser.add_argument(
      '--infra',
      help='where to run: aws, gcp/us-central1, k8s; default: anywhere',
  )
  parser.add_argument(
      '--image', help='an image to run in, in which jrt_jax is installed'
  )
  parser.add_argument(
      '--setup',
      action='append',
      default=[],
      help='a line of bash that prepares a node; default: installs the folder'
      ' into .venv',
  )
  parser.add_argument(
      '--python',
      help=f'the interpreter; default: {_PYTHON}, or python with --image or'
      ' --setup',
  )


def run(arguments: argparse.Namespace, runs: list[Run]) -> int:
  """Writes the tasks and submits each; returns the exit code.

  Raises:
    ValueError: an option cannot be right.
    OSError: a file cannot be written, or there is no sky.
  """
  names = submission.job_names(arguments.workdir, len(runs))
  files = {
      submission.file(arguments.workdir, f'{name}.sky.yaml'): yaml.text(
          task(arguments, one, name)
      )
      for one, name in zip(runs, names)
  }
  command = ['sky', 'jobs', 'launch', '--detach-run']  # or it shows the log
  if len(runs) > 1:
    command.append('--yes')
  return submission.submit(
      files,
      [[*command, path] for path in files],
      dry_run=arguments.dry_run,
      advice="pip install 'skypilot[CLOUD]' in an environment of its own",
  )


def task(arguments: argparse.Namespace, run: Run, name: str) -> dict[str, Any]:
  """Returns the task of a run.

  Raises:
    ValueError: an option cannot be right.
  """
  volumes = volumes_lib.parse(arguments.volume)
  run, kept_in = volumes_lib.place(run, volumes)
  if arguments.nodes > 1 and _is_bucket(kept_in):
    raise ValueError(
        f'--volume must be a volume of SkyPilot with --nodes={arguments.nodes},'
        f' got {kept_in.source}: a node sees late what others write to a bucket'
    )
  is_own = arguments.image or arguments.setup
  python = arguments.python or ('python' if is_own else _PYTHON)
  setup = arguments.setup or ([] if arguments.image else _SETUP)
  return {
      'name': name,
      'num_nodes': arguments.nodes,
      'resources': _resources(arguments),
      'workdir': '.',
      **_mounts(volumes),
      'envs': submission.ENVIRONMENT,
      **({'setup': _script(setup)} if setup else {}),
      'run': _script([run.shell(python, '--cluster=skypilot')]),
  }


def _resources(arguments):
  resources = {'accelerators': f'{arguments.gpu}:{arguments.gpus_per_node}'}
  if arguments.infra:
    resources['infra'] = arguments.infra
  if arguments.spot:
    resources['use_spot'] = True
  if arguments.image:
    resources['image_id'] = f'docker:{arguments.image}'
  recovery = {'max_restarts_on_errors': arguments.max_restarts}
  return {**resources, 'job_recovery': recovery}


def _is_bucket(volume):
  return '://' in volume.source


def _mounts(volumes):
  # In the mode MOUNT, nothing could be appended to a file.
  buckets = {
      volume.path: {'source': volume.source, 'mode': 'MOUNT_CACHED'}
      for volume in volumes
      if _is_bucket(volume)
  }
  others = {x.path: x.source for x in volumes if not _is_bucket(x)}
  mounts = {'file_mounts': buckets, 'volumes': others}
  return {name: found for name, found in mounts.items() if found}


def _script(lines):
  return ''.join(f'{line}\n' for line in lines)
