"""Files with arrays that a model has computed: states, and sums of documents.

A file is an .npz of numpy: an array for each leaf of a tree, and `meta`, JSON
that names the model. Nothing in it is executed.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.generation.model import Model
from jrt_jax.schema import Fields


def write(path: str | pathlib.Path, meta: Mapping[str, Any], tree: Any) -> None:
  """Writes a tree of arrays atomically; OSError if that is impossible."""
  arrays = {name: _as_numpy(x) for name, x in _leaves(tree)}
  with atomic_write.replacing(path) as new, open(new, 'wb') as file:
    np.savez(file, meta=np.array(json.dumps(meta)), **arrays)


def open_for(
    path: str | pathlib.Path,
    model: Model,
    kind: str,
    schema: Fields,
    number: int,
) -> tuple[foreign.Npz, dict[str, Any]]:
  """Opens a file of a model, and returns it with its `meta`.

  Args:
    path: the file.
    model: the model that must have computed the arrays.
    kind: what the file must be, for messages.
    schema: the schema of `meta`, with keys `format` and `model`.
    number: the number of the format.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is damaged, of another kind, or from another model.
  """
  file = foreign.Npz(path)
  place = f'{path} must be {kind}: meta'
  meta = foreign.parse_json(file.text('meta'), place, schema)
  found = meta['format'], meta['model']
  if found != (number, model.fingerprint):
    raise ValueError(
        f'{path} must be of this model ({model.fingerprint}, format'
        f' {number}), got that of model {found[1]}, format {found[0]}'
    )
  return file, meta


def read(path: str | pathlib.Path, file: foreign.Npz, like: Any) -> Any:
  """Returns the tree of a file, with the shapes and dtypes of `like`.

  Raises:
    ValueError: an array is missing, does not fit, or has impossible values.
  """
  leaves = [_read(path, file, name, x) for name, x in _leaves(like)]
  return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _read(path, file, name, like):
  """Reads an array like another: finite floats, or integers from 0 on."""
  whole = jnp.issubdtype(like.dtype, jnp.integer)
  x = file.array(name, like.shape, 'i' if whole else 'f')
  most = jnp.iinfo(like.dtype).max if whole else jnp.finfo(like.dtype).max
  least = 0 if whole else -most
  if not ((x >= least) & (x <= most)).all():
    wanted = f'within [0, {most:,}]' if whole else 'finite'
    raise ValueError(f'{path}: {name} must be {wanted}')
  return jnp.asarray(x, like.dtype)


def _leaves(state):
  flat = jax.tree.flatten_with_path(state)[0]
  return [(jax.tree_util.keystr(path).lstrip('.'), x) for path, x in flat]


def _as_numpy(x):
  """Converts bfloat16, which .npz does not know, to float32, which is exact."""
  return np.asarray(x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x)
