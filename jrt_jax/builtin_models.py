"""Models that come with the package, in `builtin`; users write builtin:NAME."""

import pathlib

from jrt_jax import local_paths

FOLDER = pathlib.Path(__file__).with_name('builtin')

_PREFIX = 'builtin:'


def names() -> list[str]:
  """Returns the names of all built-in models."""
  return sorted(path.parent.name for path in FOLDER.glob('*/config.json'))


def find(workdir: str | pathlib.Path) -> pathlib.Path:
  """Returns `workdir` as a path, or the folder that builtin:NAME stands for.

  Raises:
    FileNotFoundError: no model has this name.
    ValueError: the workdir is a URL.
  """
  local_paths.check('the workdir', workdir)
  if not str(workdir).startswith(_PREFIX):
    return pathlib.Path(workdir)
  name = str(workdir).removeprefix(_PREFIX)
  if name not in names():
    raise FileNotFoundError(
        f'builtin:NAME must be one of {", ".join(names())}, got {name!r}'
    )
  return FOLDER / name
