"""The state after a text, in a file whose size does not depend on the text.

The file is an .npz of numpy: an array for each leaf of the `DecodeState`, and
`meta`, JSON that names the model. Nothing in it is executed.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax import atomic_write
from jrt_jax import foreign
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.generation import prefill
from jrt_jax.generation.model import Model
from jrt_jax.generation.prefill import DecodeState
from jrt_jax.schema import AnyOf
from jrt_jax.schema import Fields
from jrt_jax.schema import OneOf
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

_FORMAT = 1
_META = Fields(
    {
        'format': Whole(0, 2**16),
        'model': Text(),
        'rows': Whole(1, 2**20),
        'slots': AnyOf(OneOf(None), Whole(1, 2**24)),
    }
)


def save(path: str | pathlib.Path, model: Model, state: DecodeState) -> None:
  """Writes a file for `load`, atomically.

  Args:
    path: the file; an existing one is replaced.
    model: the model that has read the texts.
    state: the state of any number of rows.

  Raises:
    OSError: the file cannot be written.
  """
  meta = {
      'format': _FORMAT,
      'model': model.fingerprint,
      'rows': len(state.position),
      'slots': _slots(model, state),
  }
  arrays = {name: _as_numpy(x) for name, x in _leaves(state)}
  with atomic_write.replacing(path) as new, open(new, 'wb') as file:
    np.savez(file, meta=np.array(json.dumps(meta)), **arrays)


def load(path: str | pathlib.Path, model: Model) -> DecodeState:
  """Returns the state that `save` has written.

  Args:
    path: the file.
    model: the model that has read the texts.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is damaged, or from another model.
  """
  file = foreign.Npz(path)
  meta = foreign.parse_json(file.text('meta'), f'{path}: meta', _META)
  found = meta['format'], meta['model']
  if found != (_FORMAT, model.fingerprint):
    raise ValueError(
        f'{path} must be of this model ({model.fingerprint}, format'
        f' {_FORMAT}), got that of model {found[1]}, format {found[0]}'
    )
  if model.grows == (meta['slots'] is None):
    raise ValueError(f'{path}: slots must fit the model, got {meta["slots"]}')
  empty = jax.eval_shape(
      lambda: prefill.empty_state(
          model.merge, model.params, meta['rows'], meta['slots']
      )
  )
  leaves = [_read(path, file, name, x) for name, x in _leaves(empty)]
  state = jax.tree.unflatten(jax.tree.structure(empty), leaves)
  if (state.prefix > state.position).any():
    raise ValueError(f'{path}: prefix must not exceed position')
  return state


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


def _slots(model, state):
  """The slots of the caches that grow; None if there are none."""
  for mixer, layer_state in zip(model.config['model']['mixers'], state.states):
    if MIXERS[mixer].state_grows:
      return layer_state.k.shape[1]
  return None


def _leaves(state):
  flat = jax.tree.flatten_with_path(state)[0]
  return [(jax.tree_util.keystr(path).lstrip('.'), x) for path, x in flat]


def _as_numpy(x):
  """Converts bfloat16, which .npz does not know, to float32, which is exact."""
  return np.asarray(x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x)
