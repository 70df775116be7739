"""What a model costs: parameters, decode state and FLOPs, from its config."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jrt_jax.models import functional


def parameters(config: Mapping[str, Any]) -> dict[str, int]:
  """Parameter counts by part: the embedding, each mixer, MLPs and norms.

  Args:
    config: `config.model` of a run.
  """
  counts: dict[str, int] = {'embedding': 0}
  for name, x in functional.abstract(config)[1].items():
    part = _part(name, config['mixers'])
    counts[part] = counts.get(part, 0) + x.size
  return counts


def _part(name, mixers):
  if name.startswith('layers.'):
    _, index, module, *_ = name.split('.')
    return mixers[int(index)] if module == 'mixer' else module.split('_')[-1]
  return 'embedding' if name.startswith('embedding') else 'norm'


def state_bytes(config: Mapping[str, Any], *, length: int) -> int:
  """Bytes that decoding keeps for one sequence of `length` tokens.

  Only `attention` layers keep more for longer sequences.
  """
  merge, params = functional.abstract(config)

  def prefill(params):
    token = jnp.zeros((1, 1), jnp.int32)
    return merge(params).prefill(token, state_capacity=length)[1]

  state = jax.eval_shape(prefill, params)
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))


def train_flops_per_token(
    config: Mapping[str, Any],
    *,
    sequence_length: int,
    prefix_fraction: float,
    supervised_fraction: float,
) -> float:
  """Floating-point operations of a training step over its tokens.

  Counts what the model is, not how it is computed: 2 for each multiplication
  with a weight or a key, forward once and backward twice. Encoder projections
  count for prefix tokens only, and the head for supervised positions only.
  Feature maps count for queries and for each kind of keys.

  Args:
    config: `config.model` of a run.
    sequence_length: tokens of a sequence; earlier ones see fewer keys.
    prefix_fraction: prefix tokens over all tokens.
    supervised_fraction: tokens with a label over all tokens.
  """
  head = config['vocab_size'] * config['width'] * supervised_fraction
  products = head
  merge, params = functional.abstract(config)
  for name, x in params.items():
    if name.endswith(('.kernel', '.projection')):
      products += x.size * _uses(
          name, config['mixers'], params, prefix_fraction
      )
  for mixer, layer in zip(config['mixers'], merge(params).layers):
    products += _core_products(
        mixer, layer.mixer, config, sequence_length, prefix_fraction
    )
  return 3 * 2 * products


def _uses(name, mixers, params, prefix_fraction):
  """How often a token is multiplied by the weights `name`."""
  if '_enc.' in name:
    return prefix_fraction
  if '.feature_map.' not in name:
    return 1.0
  shared = name.replace('.feature_map.', '.feature_map_enc.') not in params
  reads_prefix = mixers[int(name.split('.')[1])] == 'pla'
  return 2.0 + (prefix_fraction if shared and reads_prefix else 0.0)


def _core_products(name, mixer, config, L, prefix_fraction):
  """Multiplications per token between activations, over all heads."""
  E = config['width']
  if name in ('swa', 'attention'):  # scores and values
    most = min(config['window'] + config['sinks'], L) if name == 'swa' else L
    mean = most - most * (most - 1) / (2 * L)  # the first tokens see fewer
    return 2 * mean * E
  if name in ('la', 'pla'):  # S += φ(k) vᵀ, φ(q)·S, and the prefix
    V = E // config['num_heads']
    features = sum(g.num_heads * g.feature_map.width for g in mixer.groups)
    return features * V * (2 + (prefix_fraction if name == 'pla' else 0))
  return 0
