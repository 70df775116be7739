"""Which checkpoints are intact, by digests: Orbax misses flipped bits."""

from collections.abc import Mapping
import json
import pathlib

from absl import logging

from jrt_jax import foreign
from jrt_jax import weights
from jrt_jax.runtime import distributed
from jrt_jax.schema import Fields
from jrt_jax.schema import shown
from jrt_jax.schema import Text

DIGESTS = 'digests.json'
_DIGESTS = Fields({}, others=Text())  # by file


def seal(checkpoint: pathlib.Path) -> None:
  """Records the digests of all files of a complete checkpoint."""
  files = [file for file in checkpoint.glob('*/**/*') if file.is_file()]
  digests = {
      str(f.relative_to(checkpoint)): weights.sha256(f) for f in sorted(files)
  }
  (checkpoint / DIGESTS).write_text(json.dumps(digests, indent=1))


def saved(directory: pathlib.Path) -> list[pathlib.Path]:
  """Returns the paths of all checkpoints, intact or not, the newest first."""
  paths = [path for path in directory.glob('*') if path.name.isdigit()]
  return sorted(paths, key=lambda path: int(path.name), reverse=True)


def newest(
    directory: pathlib.Path,
    part: str = '',
    ruined: Mapping[str, str] | None = None,
) -> tuple[pathlib.Path | None, dict[pathlib.Path, str]]:
  """Returns the newest intact checkpoint, and {path: problem} of newer ones.

  If there are no checkpoints, this is (None, {}).

  Args:
    part: only files whose names start with this are checked.
    ruined: {name: problem} of checkpoints to skip although their files are
      intact.

  Raises:
    ValueError: all checkpoints are damaged.
  """
  name, damaged = distributed.from_first(lambda: _find(directory, part, ruined))
  path = directory / name if name else None
  return path, {directory / bad: why for bad, why in damaged.items()}


def move_aside(damaged: Mapping[pathlib.Path, str]) -> None:
  """Renames damaged checkpoints and logs a warning with each problem."""
  for path, problem in damaged.items():
    aside = path.with_suffix('.damaged')
    count = 1
    while aside.exists():
      count += 1
      aside = path.with_suffix(f'.damaged-{count}')
    path.rename(aside)
    logging.warning(
        '%s is damaged (%s): moved to %s', path, problem, aside.name
    )


def problem(checkpoint: pathlib.Path, part: str = '') -> str | None:
  """Returns what is wrong with the files whose names start with `part`.

  Returns None if nothing is.
  """
  try:
    digests = foreign.read_json(checkpoint / DIGESTS, _DIGESTS)
  except (FileNotFoundError, ValueError):
    return f'{DIGESTS} is missing or cut off'
  digests = {k: digests[k] for k in digests if k.startswith(part)}
  if not digests:
    return f'{DIGESTS} names no file'
  for name, digest in digests.items():
    if not (checkpoint / name).is_file():
      return f'{shown(name)} is missing'
    if weights.sha256(checkpoint / name) != digest:
      return f'{shown(name)} has changed since it was written'
  return None


def _find(directory, part, ruined):
  """As `newest`, but with names in place of paths."""
  damaged = {}
  for path in saved(directory):
    why = (ruined or {}).get(path.name) or problem(path, part)
    if not why:
      return path.name, damaged
    damaged[path.name] = why
  if damaged:
    reasons = '; '.join(f'{name}: {why}' for name, why in damaged.items())
    raise ValueError(
        f'every checkpoint in {directory} is damaged ({reasons}); move the'
        ' folder away to start anew'
    )
  return None, damaged
