"""Prefix linear attention of rows whose positions several devices share.

Linear attention adds up φ(k) vᵀ, so that the state before the part of a device
is a sum of sums of parts. Each device

1. adds up its own part of the prefix, and devices add these up (`psum`);
2. adds up its own keys, those of the last document of its part only, and
   devices exchange these sums (`sequence.fold`);
3. computes its own outputs without any prefix, from the state before its part.

Keys are read twice, as in `mosaic_sm90_segments`. What is exchanged has the size
of a state, whatever the length; no device has keys, values or outputs of another.

The idea of exchanging states instead of keys: Sun et al. 2024 and 2025 (LASP),
https://arxiv.org/abs/2404.02882, https://arxiv.org/abs/2502.07563.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp

from pallas_kernels import sequence
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib


class _Transition(NamedTuple):
  """What a part does to a state: it keeps or drops it, and adds to it."""

  keeps: jax.Array | None  # bool [B]; None: it is kept
  added: inputs_lib.State


def check(inputs: inputs_lib.Inputs) -> None:
  """Raises an error unless positions of these inputs can be shared."""
  if inputs.prefix_segment is not None:
    raise NotImplementedError(
        'sequence_axes must be () for packed documents with a prefix each'
        ' (prefix_mask and segment_ids)'
    )
  L, P = inputs.q.shape[1], inputs.k_enc.shape[1]
  if P not in (0, L):
    raise ValueError(
        f'k_enc must have the L = {L} positions of q, or none, where'
        f' sequence_axes divide them, got {P}'
    )


def attend(
    axes: Sequence[str],
    run: Callable[..., Any],
    add: Callable[..., Any],
    inputs: inputs_lib.Inputs,
    *,
    plain: bool,
    return_state: bool,
    **options: Any,
) -> tuple[jax.Array, inputs_lib.State | None]:
  """Returns the outputs of one device, and the state after the last token.

  Args:
    axes: the mapped axes of the mesh that share the positions.
    run: an implementation of the operation.
    add: the implementation's sums over keys and values.
    inputs: the part of one device, before segments are numbered.
    plain, return_state, **options: see the operation.
  """
  initial = inputs_lib.with_state(inputs, options['feature_map']).state
  documents = None if plain else sequence.Documents.of(inputs.segment, axes)
  inputs = inputs_lib.numbered(inputs)
  in_prefix, in_last = inputs.prefix_mask, inputs.mask
  if documents is not None:
    in_first = documents.is_first & ~documents.begins
    in_prefix &= in_first[:, None]
    in_last &= inputs.segment == inputs.segment[:, -1:]

  of_sums = {name: x for name, x in options.items() if name != 'normalizer'}
  sums = functools.partial(add, plain=plain, **of_sums)
  if inputs.k_enc.shape[1]:
    read = lax.psum(sums(inputs.k_enc, inputs.v_enc, in_prefix), tuple(axes))
    initial = jax.tree.map(jnp.add, initial, read)
  transition = _Transition(
      None if documents is None else documents.keeps,
      sums(inputs.k, inputs.v, in_last),
  )
  before, last = sequence.fold(_apply, transition, initial, axes)
  if documents is not None:
    before = _only(~documents.begins, before)
  own = inputs._replace(
      k_enc=inputs.k_enc[:, :0],
      v_enc=inputs.v_enc[:, :0],
      prefix_mask=in_prefix[:, :0],
      state=before,
  )
  y, _ = run(own, plain=plain, return_state=False, **options)
  return y, last if return_state else None


def _apply(transition, state):
  if transition.keeps is not None:
    state = _only(transition.keeps, state)
  return jax.tree.map(jnp.add, state, transition.added)


def _only(keeps, state):
  """The state of rows where `keeps`, bool [B], is True, and 0 for others."""

  def choose(x):
    return jnp.where(jnp.expand_dims(keeps, [*range(1, x.ndim)]), x, 0)

  return jax.tree.map(choose, state)
