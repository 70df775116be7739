"""The state after a text, in a file whose size does not depend on the text."""

import pathlib

import jax

from jrt_jax.cost.mixers import MIXERS
from jrt_jax.generation import array_file
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
  array_file.write(path, meta, state)


def load(path: str | pathlib.Path, model: Model) -> DecodeState:
  """Returns the state that `save` has written.

  Args:
    path: the file.
    model: the model that has read the texts.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is damaged, or from another model.
  """
  file, meta = array_file.open_for(path, model, 'a saved state', _META, _FORMAT)
  if model.grows == (meta['slots'] is None):
    raise ValueError(f'{path}: slots must fit the model, got {meta["slots"]}')
  empty = jax.eval_shape(
      lambda: prefill.empty_state(
          model.merge, model.params, meta['rows'], meta['slots']
      )
  )
  state = array_file.read(path, file, empty)
  if (state.prefix > state.position).any():
    raise ValueError(f'{path}: prefix must not exceed position')
  return state


def _slots(model, state):
  """The slots of the caches that grow; None if there are none."""
  for mixer, layer_state in zip(model.config['model']['mixers'], state.states):
    if MIXERS[mixer].state_grows:
      return layer_state.k.shape[1]
  return None
