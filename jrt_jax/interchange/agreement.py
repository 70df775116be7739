"""Compares a model's logits with those that another implementation recorded."""

from collections.abc import Mapping
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax import foreign
from jrt_jax import models
from jrt_jax.prefix import policies


def max_difference(
    config: Mapping[str, Any],
    params: Mapping[str, jax.Array],
    file: str | os.PathLike,
) -> float:
  """Returns max |Δlogit| in float32; NaN if any logit is NaN.

  The prefix of a row has the largest length that the model allows.

  Args:
    config: the config of the run.
    params: its parameters, by name.
    file: see `read`.

  Raises:
    OSError, ValueError: see `read`.
  """
  vocab_size = config['model']['vocab_size']
  ids, expected = read(file, vocab_size)
  in_float32 = dict.fromkeys(('dtype', 'residual_dtype'), 'float32')
  merge, _ = models.abstract({**config['model'], **in_float32})
  capacity = policies.prefix_capacity(
      config['prefix'], config['sequence_length']
  )
  P = min(capacity, ids.shape[1])

  @jax.jit
  def logits(params, tokens):
    return merge(params)(
        tokens[None], prefix_len=jnp.full(1, P), prefix_capacity=P
    )[0]

  with jax.default_matmul_precision('highest'):
    differences = [
        np.abs(logits(params, row) - logits_of_row).max()
        for row, logits_of_row in zip(ids, expected)
    ]
  return float(np.max(differences))


def read(
    file: str | os.PathLike, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns recorded ids, int32 [B, L], and their logits [B, L, V].

  Args:
    file: an .npz with the arrays `input_ids`, integers [B, L], and
      `logits_parallel`, [B, L, V].
    vocab_size: V.

  Raises:
    OSError: the file cannot be read.
    ValueError: it does not have these arrays.
  """
  arrays = foreign.Npz(file)
  ids = arrays.array('input_ids', (None, None), 'iu')
  if not ids.size:
    raise ValueError(f'{file}: input_ids must not be empty')
  if not 0 <= ids.min() <= ids.max() < vocab_size:
    raise ValueError(
        f'{file}: input_ids must be at least 0 and below {vocab_size}, got'
        f' {ids.min()} to {ids.max()}'
    )
  return ids.astype(np.int32), arrays.array(
      'logits_parallel', (*ids.shape, vocab_size), 'f'
  )
