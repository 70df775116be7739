"""What a model costs: parameters, decode state and FLOPs, from its config."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jrt_jax.models import language_model
from pallas_kernels.prefix_linear_attention.feature_maps import FEATURE_MAPS


def parameters(config: Mapping[str, Any]) -> dict[str, int]:
  """Parameter counts by part: the embedding, each mixer, MLPs and norms.

  Args:
    config: `config.model` of a run.
  """
  counts: dict[str, int] = {'embedding': 0}
  for name, x in language_model.abstract(config)[1].items():
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
  merge, params = language_model.abstract(config)

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

  Args:
    config: `config.model` of a run.
    sequence_length: tokens of a sequence; earlier ones see fewer keys.
    prefix_fraction: prefix tokens over all tokens.
    supervised_fraction: tokens with a label over all tokens.
  """
  head = config['vocab_size'] * config['width'] * supervised_fraction
  products = head
  for name, x in language_model.abstract(config)[1].items():
    if name.endswith('.kernel'):
      encoder = '_enc.' in name
      products += x.size * (prefix_fraction if encoder else 1.0)
  for mixer in config['mixers']:
    products += _core_products(mixer, config, sequence_length, prefix_fraction)
  return 3 * 2 * products


def _core_products(mixer, config, L, prefix_fraction):
  """Multiplications per token between activations, over all heads."""
  E = config['width']
  if mixer in ('swa', 'attention'):  # scores and values
    most = min(config['window'], L) if mixer == 'swa' else L
    mean = most - most * (most - 1) / (2 * L)  # the first tokens see fewer
    return 2 * mean * E
  if mixer in ('la', 'pla'):  # S += φ(k) vᵀ, φ(q)·S, and the prefix
    name, D = (
        config['feature_map']['name'],
        config['feature_map']['feature_dim'],
    )
    F = FEATURE_MAPS[name].width(D)
    return F * E * (2 + (prefix_fraction if mixer == 'pla' else 0))
  return 0
