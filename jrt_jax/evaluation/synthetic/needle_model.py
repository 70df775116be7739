"""The weights of `needle`, set by hand.

  conv  marks the key in the question, and adds its key to each value;
  pla   writes the key in the question, so that every token receives it; the
        MLP compares it with the key of the token's own pair;
  pla   writes the values that matched, and the last token reads them.

Both `pla` layers have one feature (D = 1), however many pairs there are. Prefix
and causal keys and values have the same weights.
"""

from typing import Any, NamedTuple

import numpy as np

from configs import base
from jrt_jax import models

MARKS = ASK, ASKED, ANSWER = 1, 2, 3  # of `1 key 2` and `3 key`
FIRST_KEY = 4  # the first id of keys; those of values follow the last key
NUM_VALUES = 48


class Columns(NamedTuple):
  """The columns of the residual stream; above 0 means that it is true."""

  one: slice  # it is a token
  mark: slice  # it is ASK
  match: slice  # it is a value whose key is asked for
  keys: slice  # it is this key, or the value of it
  asked: slice  # this key is asked for
  values: slice  # it is this value


def columns(num_pairs: int) -> Columns:
  """Returns the columns, one beside the other."""
  ends = np.cumsum([1, 1, 1, num_pairs, num_pairs, NUM_VALUES]).tolist()
  return Columns(*map(slice, [0, *ends], ends))


def config(num_pairs: int) -> dict[str, Any]:
  """Returns `config.model` for prompts of this many pairs."""
  defaults = base.get_config().model.to_dict()
  one_feature = {'name': 'linear', 'feature_dim': 1}
  return defaults | {
      'mixers': ('conv', 'pla', 'pla'),
      'width': columns(num_pairs).values.stop,
      'num_heads': 1,
      'mlp_width': num_pairs,
      'vocab_size': FIRST_KEY + num_pairs + NUM_VALUES,
      'vocab_multiple': 1,
      'feature_map': defaults['feature_map'] | one_feature,
      'normalizer': 'none',
      'conv_kernel': 2,
      'conv_expand': 2,
      'dtype': 'float32',
  }


def weights(num_pairs: int) -> dict[str, np.ndarray]:
  """Returns the weights; those that are not set are 0."""
  _, shapes = models.abstract(config(num_pairs))
  params = {name: np.zeros(x.shape, x.dtype) for name, x in shapes.items()}
  for name in params:
    if name.endswith('norm.scale'):
      params[name][:] = 1
  n, at = num_pairs, columns(num_pairs)
  embedding = params['embedding.embedding']
  embedding[:, at.one] = 1
  embedding[ASK, at.mark] = 1
  embedding[FIRST_KEY:][:n, at.keys] = np.eye(n)
  embedding[FIRST_KEY + n :, at.values] = np.eye(NUM_VALUES)
  _set_conv(params, n, at)
  _set_mlp(params, n, at)
  _set_pla(params, 1, query=at.one, key=at.one, value=at.asked)
  _set_pla(params, 2, query=at.one, key=at.match, value=at.values)
  return params


def _set_conv(params, n, at):
  """A channel is u of the previous token times the gate of this token."""
  in_proj, taps, out_proj = (
      params[f'layers.0.mixer.{name}.kernel']
      for name in ('in_proj', 'conv', 'out_proj')
  )
  u, gate = np.moveaxis(in_proj, 1, 0)
  taps[0] = 1
  first, second = slice(n), slice(n, 2 * n)
  u[at.mark, first] = 1  # after ASK
  gate[at.keys, first] = np.eye(n)  # this is the key in the question
  out_proj[first, at.asked] = np.eye(n)
  u[at.keys, second] = np.eye(n)  # after a key
  gate[at.values, second] = 1  # this is its value
  out_proj[second, at.keys] = np.eye(n)


def _set_mlp(params, n, at):
  """A product for each key: the token has it, and the question names it.

  The key in the question matches itself, too, but has no value to write.
  """
  fc1, fc2 = (params[f'layers.1.mlp.{name}.kernel'] for name in ('fc1', 'fc2'))
  value, gate = np.moveaxis(fc1, 1, 0)
  value[at.keys] = np.eye(n)
  gate[at.asked] = np.eye(n)
  fc2[:, at.match] = 1


def _set_pla(params, layer, *, query, key, value):
  """Tokens read the columns `value` of others, weighted by their `key`."""
  mixer, same = f'layers.{layer}.mixer', np.eye(value.stop - value.start)
  params[f'{mixer}.proj_q.kernel'][query] = 1
  for suffix in ('', '_enc'):
    params[f'{mixer}.proj_k{suffix}.kernel'][key] = 1
    params[f'{mixer}.proj_v{suffix}.kernel'][value, value] = same
  params[f'{mixer}.out_proj.kernel'][value, value] = same
