"""What was read, kept in a file: a document as a memory of constant size.

The file is an .npz of numpy: an array for each leaf of the `Reading`, and
`meta`, JSON that names the model. Nothing in it is executed.
"""

import json
import os
import pathlib
import zipfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax.generation.model import Model
from jrt_jax.generation.reading import Reading

_FORMAT = 1
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    TypeError,
    ValueError,
)


def save(path: str | pathlib.Path, model: Model, reading: Reading) -> None:
  """Writes a file that `load` reads, all of it or nothing.

  Args:
    path: of the file; one that is there is replaced.
    model: that has read.
    reading: of any number of rows.

  Raises:
    OSError: it cannot be written.
  """
  meta = {
      'format': _FORMAT,
      'model': model.fingerprint,
      'rows': len(reading.position),
      'slots': _slots(model, reading),
  }
  arrays = {name: _as_numpy(x) for name, x in _leaves(reading)}
  path = pathlib.Path(path)
  temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
  try:
    with open(temporary, 'wb') as file:
      np.savez(file, meta=np.array(json.dumps(meta)), **arrays)
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def load(path: str | pathlib.Path, model: Model) -> Reading:
  """Returns what `save` was given.

  Args:
    path: of the file.
    model: the one that has read.

  Raises:
    OSError: it cannot be read.
    ValueError: it is damaged, or the memory of another model.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays['meta'][()]))
    found = meta['format'], meta['model']
    rows, slots = meta['rows'], meta['slots']
  except _DAMAGE as error:
    raise ValueError(
        f'{path} is damaged, or not the memory of a model: {error}'
    ) from error
  if found != (_FORMAT, model.fingerprint):
    raise ValueError(
        f'{path} must be of this model ({model.fingerprint}, format'
        f' {_FORMAT}), got that of model {found[1]}, format {found[0]}'
    )
  empty = jax.eval_shape(lambda: _empty(model, rows, slots))
  leaves = []
  for name, x in _leaves(empty):
    if name not in arrays or arrays[name].shape != x.shape:
      raise ValueError(f'{path} is damaged: {name} must have shape {x.shape}')
    leaves.append(jnp.asarray(arrays[name], x.dtype))
  return jax.tree.unflatten(jax.tree.structure(empty), leaves)


def _empty(model, rows, slots):
  language_model = model.merge(model.params)
  counts = jnp.zeros(rows, jnp.int32)
  logits = jnp.zeros((rows, language_model.vocab_size), jnp.float32)
  states = language_model.initial_states(rows, state_capacity=slots)
  return Reading(logits, states, counts, counts)


def _slots(model, reading):
  """Of the caches of `attention` layers; None if there are none."""
  mixers = model.config['model']['mixers']
  if 'attention' in mixers:
    return reading.states[list(mixers).index('attention')].k.shape[1]


def _leaves(reading):
  flat = jax.tree.flatten_with_path(reading)[0]
  return [(jax.tree_util.keystr(path).lstrip('.'), x) for path, x in flat]


def _as_numpy(x):
  """Float32 holds bfloat16 exactly, which .npz does not know."""
  return np.asarray(x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x)
