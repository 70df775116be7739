"""What a result depends on besides its settings."""

import datetime
import pathlib
import subprocess
from typing import Any

import jrt_jax
from jrt_jax.benchmarks import worker

_ROOT = pathlib.Path(jrt_jax.__file__).parents[1]


def describe() -> dict[str, Any]:
  """Returns hardware, versions, date and commit, of this process."""
  found = worker.environment()
  return {
      'hardware': found['hardware'],
      'versions': found['versions'],
      'commit': commit(),
      'date': datetime.date.today().isoformat(),
  }


def commit(root: pathlib.Path = _ROOT) -> str | None:
  """Returns the commit of a checkout, with a + if files differ from it."""
  if not (root / '.git').exists():
    return None
  try:
    head = _git(root, 'rev-parse', '--short=12', 'HEAD')
    changed = _git(root, 'status', '--porcelain', '--untracked-files=no')
  except (OSError, subprocess.SubprocessError):
    return None
  return head + ('+' if changed else '')


def _git(root, *arguments):
  done = subprocess.run(
      ['git', *arguments],
      cwd=root,
      capture_output=True,
      text=True,
      check=True,
      timeout=30,
  )
  return done.stdout.strip()
