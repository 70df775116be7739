"""Whether a model computes the logits that another implementation recorded."""

from collections.abc import Mapping
import os
from typing import Any
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax import models
from jrt_jax.prefix import policies


def max_difference(
    config: Mapping[str, Any],
    params: Mapping[str, jax.Array],
    file: str | os.PathLike,
) -> float:
  """Returns max |Δlogit| in float32; NaN if any logit is.

  The prefix of a row is as long as the model's prefix may be.

  Args:
    config: of the run.
    params: by name.
    file: an .npz with the arrays `input_ids`, whole numbers [B, L], and
      `logits_parallel`, [B, L, V].

  Raises:
    OSError: the file cannot be read.
    ValueError: it does not hold such arrays.
  """
  vocab_size = config['model']['vocab_size']
  ids, expected = _read(file, vocab_size)
  merge, _ = models.abstract({**config['model'], 'dtype': 'float32'})
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


def _read(file, vocab_size):
  ids, logits = _load(file, ('input_ids', 'logits_parallel'))
  if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer) or not ids.size:
    raise ValueError(
        f'{file}: input_ids must be whole numbers [B, L], got {ids.dtype}'
        f' {[*ids.shape]}'
    )
  if not 0 <= ids.min() <= ids.max() < vocab_size:
    raise ValueError(
        f'{file}: input_ids must be at least 0 and below {vocab_size}, got'
        f' {ids.min()} to {ids.max()}'
    )
  if logits.shape != (*ids.shape, vocab_size):
    raise ValueError(
        f'{file}: logits_parallel must be {[*ids.shape, vocab_size]}, got'
        f' {[*logits.shape]}'
    )
  return ids.astype(np.int32), logits


def _load(file, names):
  try:
    with np.load(file) as arrays:
      return [arrays[name] for name in names]
  except (EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
    raise ValueError(f'{file} must be an intact .npz file') from error
  except KeyError as error:
    raise ValueError(
        f'{file} must hold the arrays {" and ".join(names)}'
    ) from error
