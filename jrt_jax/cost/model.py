"""What a model costs: parameters, decode state and FLOPs.

Counted from the config, and compared with the model that is built by tests.
"""

import collections
from collections.abc import Mapping
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
  """Returns the shape of each parameter, as `weights`."""
  return {name: x.shape for name, x in weights(config).items()}


def parameters(config: Mapping[str, Any]) -> dict[str, int]:
  """Parameter counts by part: the embedding, each mixer, MLPs and norms.

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
    yield 'mlp', f'layers.{i}.mlp.fc1.kernel', kernel((E, 2, M), IN_STACKED)
    yield 'mlp', f'layers.{i}.mlp.fc2.kernel', kernel((M, E), OUT)
    yield 'norm', f'layers.{i}.mixer_norm.scale', norm
    yield 'norm', f'layers.{i}.mlp_norm.scale', norm
  yield 'norm', 'final_norm.scale', norm


def state_bytes(config: Mapping[str, Any], *, length: int) -> int:
  """Bytes that decoding keeps for one sequence of `length` tokens.

  Only mixers whose `state_grows` keep more for longer sequences.
  """
  return sum(MIXERS[x].state_bytes(config, length) for x in config['mixers'])


def train_flops(
    config: Mapping[str, Any],
    *,
    sequence_length: int,
    prefix_fraction: float,
    supervised_fraction: float,
) -> dict[str, float]:
  """Floating-point operations of a training step over its tokens, by part.

  Counts what the model is, not how it is computed: 2 for each multiplication
  with a weight or a key, forward once and backward twice. Encoder projections
  count for prefix tokens only, and the head (of the embedding) for supervised
  positions only. Feature maps count for queries and for each kind of keys.

  Args:
    config: `config.model` of a run.
    sequence_length: tokens of a sequence; earlier ones see fewer keys.
    prefix_fraction: prefix tokens over all tokens.
    supervised_fraction: tokens with a label over all tokens.
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
    products[mixer] += MIXERS[mixer].products(
        config, sequence_length, prefix_fraction
    )
  return {part: 3 * 2 * x for part, x in products.items()}
