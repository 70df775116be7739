"""The result that a run printed at its end; the same command prints it again.

The first line of workdir/result.txt is a digest of the config and the weights:
a result of another config or other weights is never shown.
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
  """Keeps the text; the checkpoint of `step` must exist."""
  text = f'{_origin(workdir, step, config)}\n{text}\n'
  atomic_write.text(workdir / 'result.txt', text)


def load(
    workdir: pathlib.Path, step: int, config: Mapping[str, Any]
) -> str | None:
  """Returns the text that `save` kept for these arguments, or None."""
  try:
    kept = (workdir / 'result.txt').read_bytes().decode(errors='replace')
    wanted = _origin(workdir, step, config)
  except OSError:
    return None
  origin, _, text = kept.partition('\n')
  return text.removesuffix('\n') if origin == wanted else None


def _origin(workdir, step, config):
  """One line that identifies the config and the weights."""
  digest = hashlib.sha256(json.dumps(config).encode())
  digests = workdir / 'checkpoints' / str(step) / checkpoint_integrity.DIGESTS
  digest.update(digests.read_bytes())
  return f'The result of config and weights {digest.hexdigest()}:'
