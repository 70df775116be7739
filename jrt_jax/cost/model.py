"""What a model costs: parameters, decode state and FLOPs.

Counted from the config, and compared with the model that is built by tests.
"""

import collections
from collections.abc import Mapping
import math
from typing import Any

from jrt_jax.cost.mixers import MIXERS


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
  """Returns the shape of each parameter, by the names of `models.split`.

  Args:
    config: `config.model` of a run.
  """
  E, M = config['width'], config['mlp_width']
  multiple = config['vocab_multiple']
  rows = -(-config['vocab_size'] // multiple) * multiple
  found = {'embedding.embedding': (rows, E)}
  for i, mixer in enumerate(config['mixers']):
    own = MIXERS[mixer].shapes(config)
    found |= {f'layers.{i}.mixer.{name}': x for name, x in own.items()}
    found |= {
        f'layers.{i}.mlp.fc1.kernel': (E, 2, M),
        f'layers.{i}.mlp.fc2.kernel': (M, E),
        f'layers.{i}.mixer_norm.scale': (E,),
        f'layers.{i}.mlp_norm.scale': (E,),
    }
  return found | {'final_norm.scale': (E,)}


def parameters(config: Mapping[str, Any]) -> dict[str, int]:
  """Parameter counts by part: the embedding, each mixer, MLPs and norms.

  Args:
    config: `config.model` of a run.
  """
  counts = collections.Counter()
  for name, shape in shapes(config).items():
    counts[_part(name, config['mixers'])] += math.prod(shape)
  return dict(counts)


def _part(name, mixers):
  if name.startswith('layers.'):
    _, index, module, *_ = name.split('.')
    return mixers[int(index)] if module == 'mixer' else module.split('_')[-1]
  return 'embedding' if name.startswith('embedding') else 'norm'


def state_bytes(config: Mapping[str, Any], *, length: int) -> int:
  """Bytes that decoding keeps for one sequence of `length` tokens.

  Only `attention` layers keep more for longer sequences.
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
  mixers, known = config['mixers'], shapes(config)
  products = collections.Counter()
  products['embedding'] = (
      config['vocab_size'] * config['width'] * supervised_fraction
  )
  for name, shape in known.items():
    if name.endswith(('.kernel', '.projection')):
      uses = _uses(name, mixers, known, prefix_fraction)
      products[_part(name, mixers)] += math.prod(shape) * uses
  for mixer in mixers:
    products[mixer] += MIXERS[mixer].products(
        config, sequence_length, prefix_fraction
    )
  return {part: 3 * 2 * x for part, x in products.items()}


def _uses(name, mixers, known, prefix_fraction):
  """How often a token is multiplied by the weights `name`."""
  if '_enc.' in name:
    return prefix_fraction
  if '.feature_map.' not in name:
    return 1.0
  shared = name.replace('.feature_map.', '.feature_map_enc.') not in known
  reads_prefix = mixers[int(name.split('.')[1])] == 'pla'
  return 2.0 + (prefix_fraction if shared and reads_prefix else 0.0)
