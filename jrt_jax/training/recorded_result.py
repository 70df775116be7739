"""What a run printed at its end, for the same command to print again at once.

The first line of workdir/result.txt tells of which config and which weights it
is: what it says of others is never shown.
"""

from collections.abc import Mapping
import hashlib
import json
import pathlib
from typing import Any

from jrt_jax import atomic_write
from jrt_jax.training import checkpoint_integrity


def save(
    workdir: pathlib.Path, step: int, config: Mapping[str, Any], text: str
) -> None:
  """Keeps the text; the checkpoint of `step` must be there."""
  text = f'{_origin(workdir, step, config)}\n{text}\n'
  atomic_write.text(workdir / 'result.txt', text)


def load(
    workdir: pathlib.Path, step: int, config: Mapping[str, Any]
) -> str | None:
  """Returns what `save` has kept of the same; None if there is nothing."""
  try:
    kept = (workdir / 'result.txt').read_bytes().decode(errors='replace')
    wanted = _origin(workdir, step, config)
  except OSError:
    return None
  origin, _, text = kept.partition('\n')
  return text.removesuffix('\n') if origin == wanted else None


def _origin(workdir, step, config):
  """One line that differs between configs, and between weights."""
  digest = hashlib.sha256(json.dumps(config).encode())
  digests = workdir / 'checkpoints' / str(step) / checkpoint_integrity.DIGESTS
  digest.update(digests.read_bytes())
  return f'The result of config and weights {digest.hexdigest()}:'
