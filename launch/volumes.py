"""Volumes: what outlives the machines of a job, and holds its workdir."""

import argparse
from collections.abc import Sequence
import posixpath
import re
from typing import NamedTuple

from launch.runs import Run


class Volume(NamedTuple):
  """What is mounted, and the absolute path at which it is mounted."""

  source: str
  path: str


def add_argument(parser: argparse.ArgumentParser, what: str) -> None:
  """Adds --volume; `what` says what SOURCE may be."""
  parser.add_argument(
      '--volume',
      action='append',
      required=True,
      metavar='SOURCE:/PATH',
      help=f'mounts SOURCE, {what}; --workdir, --from and the config.json of a'
      ' run are relative to the first volume',
  )


def parse(texts: Sequence[str]) -> list[Volume]:
  """Returns the volumes of --volume.

  Raises:
    ValueError: a text is not SOURCE:/PATH, or a path is given twice.
  """
  volumes = []
  for text in texts:
    source, _, path = text.rpartition(':')
    path = posixpath.normpath(path)
    if not source or not re.match('/[^/]', path):
      raise ValueError(f'--volume must be SOURCE:/PATH, got {text!r}')
    if path in [volume.path for volume in volumes]:
      raise ValueError(f'--volume must have each path once, got {path} twice')
    volumes.append(Volume(source, path))
  return volumes


def absolute(path: str, volumes: Sequence[Volume]) -> str:
  """Returns a path of a job; it is relative to the first volume."""
  return posixpath.normpath(posixpath.join(volumes[0].path, path))


def place(run: Run, volumes: Sequence[Volume]) -> tuple[Run, Volume]:
  """Returns a run with its workdir in a volume, and that volume.

  Raises:
    ValueError: the workdir is in no volume, and would be lost.
  """
  workdir = absolute(run.workdir, volumes)
  for volume in volumes:
    if workdir.startswith(f'{volume.path}/'):
      return run._replace(workdir=workdir), volume
  paths = ', '.join(volume.path for volume in volumes)
  raise ValueError(
      f'--workdir must be in a volume ({paths}), got {workdir!r}: what is'
      ' written elsewhere is lost when the job ends'
  )
