"""Parameters, decode state and FLOPs of a model.

They are counted from the config; tests compare them with the built model.
"""

import collections
from collections.abc import Mapping
import functools
import math
from typing import Any

from jrt_jax.cost.mixers import MIXERS
from jrt_jax.cost.weight import IN_STACKED
from jrt_jax.cost.weight import kernel
from jrt_jax.cost.weight import OUT
from jrt_jax.cost.weight import Weight


def weights(config: Mapping[str, Any]) -> dict[str, Weight]:
  """Returns the facts of each parameter, by the names of `models.split`.

  Args:
    config: `config.model` of a run.
  """
  return {name: weight for _, name, weight in _by_part(config)}


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
  """Returns the shape of each parameter; see `weights`."""
  return {name: x.shape for name, x in weights(config).items()}


def parameters(config: Mapping[str, Any]) -> dict[str, int]:
  """Returns parameter counts of the embedding, each mixer, MLPs and norms.

  Args:
    config: `config.model` of a run.
  """
  counts = collections.Counter()
  for part, _, weight in _by_part(config):
    counts[part] += math.prod(weight.shape)
  return dict(counts)


def _by_part(config):
  """Yields the part of the model, the name and the facts of each parameter."""
  E, M = config['width'], config['mlp_width']
  multiple = config['vocab_multiple']
  rows = -(-config['vocab_size'] // multiple) * multiple
  norm = Weight((E,))
  yield 'embedding', 'embedding.embedding', Weight((rows, E), OUT, decays=False)
  for i, mixer in enumerate(config['mixers']):
    for name, weight in MIXERS[mixer].weights(config).items():
      yield mixer, f'layers.{i}.mixer.{name}', weight
    if M:
      yield 'mlp', f'layers.{i}.mlp.fc1.kernel', kernel((E, 2, M), IN_STACKED)
      yield 'mlp', f'layers.{i}.mlp.fc2.kernel', kernel((M, E), OUT)
      yield 'norm', f'layers.{i}.mlp_norm.scale', norm
    yield 'norm', f'layers.{i}.mixer_norm.scale', norm
  yield 'norm', 'final_norm.scale', norm


def state_bytes(config: Mapping[str, Any], *, length: int) -> int:
  """Returns the bytes of the decode state after `length` tokens of a sequence.

  They depend on the length only for mixers with `state_grows`.
  """
  return sum(MIXERS[x].state_bytes(config, length) for x in config['mixers'])


def train_flops(
    config: Mapping[str, Any],
    *,
    sequence_length: int,
    prefix_fraction: float,
    supervised_fraction: float,
    documents_in_prefix: int = 0,
) -> dict[str, float]:
  """Returns the FLOPs of a training step per token, by part.

  These are the FLOPs of the model, however it is computed: 2 for each
  multiplication with a weight or a key, once in the forward pass and twice in
  the backward pass. Encoder projections count for prefix tokens only, and the
  output head for positions with a label only. Feature maps count for queries
  and for each kind of keys.

  Args:
    config: `config.model` of a run.
    sequence_length: tokens of a sequence; its first tokens see fewer keys.
    prefix_fraction: fraction of tokens that are prefix.
    supervised_fraction: fraction of tokens with a label.
    documents_in_prefix: `config.data.documents_in_prefix`: how often the whole
      prefix is read; 0: once, as one text. What a `prefix_reader` makes of the
      total of these documents is not counted.
  """
  products = collections.Counter()
  products['embedding'] = (
      config['vocab_size'] * config['width'] * supervised_fraction
  )
  for part, _, weight in _by_part(config):
    uses = weight.uses + prefix_fraction * weight.prefix_uses
    if uses:
      products[part] += math.prod(weight.shape) * uses
  for mixer in config['mixers']:
    count = functools.partial(MIXERS[mixer].products, config)
    if documents_in_prefix and MIXERS[mixer].reads_prefix:
      prefix = max(round(prefix_fraction * sequence_length), 1)
      readings = documents_in_prefix * prefix / sequence_length
      products[mixer] += count(sequence_length, 0) + readings * count(prefix, 1)
    else:
      products[mixer] += count(sequence_length, prefix_fraction)
  return {part: 3 * 2 * x for part, x in products.items()}
