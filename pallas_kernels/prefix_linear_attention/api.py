"""The public operation: checks its arguments and dispatches."""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax

from pallas_kernels import dispatch
from pallas_kernels import sharding
from pallas_kernels.prefix_linear_attention import implementations
from pallas_kernels.prefix_linear_attention import inputs as inputs_lib
from pallas_kernels.prefix_linear_attention import sequence_shards
from pallas_kernels.prefix_linear_attention.feature_maps import FeatureMap
from pallas_kernels.prefix_linear_attention.implementations import IMPLEMENTATIONS
from pallas_kernels.prefix_linear_attention.implementations import SUMS


def prefix_linear_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_enc: jax.Array | None = None,
    v_enc: jax.Array | None = None,
    prefix_len: jax.Array | None = None,
    *,
    initial_state: inputs_lib.State | None = None,
    return_state: bool = False,
    feature_map: str | FeatureMap = 'taylor_exp',
    normalizer: str = 'sum',
    segment_ids: jax.Array | None = None,
    prefix_mask: jax.Array | None = None,
    mask: jax.Array | None = None,
    batch_axes: Sequence[str] = (),
    head_axes: Sequence[str] = (),
    sequence_axes: Sequence[str] = (),
    implementation: str | Sequence[str] | None = None,
    tiles: Any = None,
) -> jax.Array | tuple[jax.Array, inputs_lib.State]:
  """Causal linear attention over a state that has first read the whole prefix.

  With M = prefix_len[b], φ the feature map and N the normalizer,

    y_i = N(φ(q_i)·(S + Σ_{j<M} φ(k_enc_j) v_enc_jᵀ + Σ_{j≤i} φ(k_j) v_jᵀ))

  for every i, inside the prefix and after it; S is the initial state. Time and
  memory grow linearly with L, and no prefix chunk beyond the longest prefix of
  the batch is computed. The operation is differentiable in all arrays of
  floats, including the initial and the returned state.

  Args:
    q: [B, L, H, D], queries, bfloat16 or float32.
    k: [B, L, H, D], causal keys, in the dtype of q.
    v: [B, L, H, V], causal values; their dtype is the dtype of the result.
    k_enc: [B, P, H, D], keys of the prefix positions, P <= L; None is P = 0.
    v_enc: [B, P, H, V], values of the prefix positions.
    prefix_len: int32 [B], how many of the P positions are prefix: 0 is causal
      linear attention, P (and None) is all.
    initial_state: the state that an earlier call returned, or None.
    return_state: whether to return the state after the last token, too.
    feature_map: a map of `pallas_kernels.feature_maps`, or its name:
      'taylor_exp', whose kernel is exactly 1 + s + s²/2 with s = q·k / √D, or
      'identity' if q and k are features already.
    normalizer: 'sum' divides by the sum of the weights, or by 1e-12 if the sum
      is less (for positive kernels; the output is 0 where no key was seen).
      'clamp' first moves the sum to at least 1 away from 0. 'none' does not
      divide.
    segment_ids: int32 [B, L], packed documents: a change of the id resets the
      state. The initial state and the first `prefix_len` positions belong to
      the first segment, the returned state to the last.
    prefix_mask: bool [B, P], instead of `prefix_len`: position j is prefix of
      the document of token j where this is True. A token then reads the prefix
      of its own document, and every document of a row may have one. Each
      prefix position costs about as much as a token.
    mask: bool [B, L], False where there is no token: its key has no weight.
    batch_axes: names of axes of the current mesh (`jax.set_mesh`) that share
      the rows: each device computes its own. Axes that do not divide the rows,
      and names that the mesh does not have, are ignored.
    head_axes: the same for heads.
    sequence_axes: the same for the L positions of each row, of which each
      device has one part. Devices exchange states, whose size does not depend
      on L, see `sequence_shards`. P must be L, or 0.
    implementation: one of 'chunked' (any device), 'mosaic_sm90' (Hopper GPUs)
      and 'reference' (O(L²)), or several to try in order. None is 'mosaic_sm90'
      on a device with its own table of tiles for this V, else 'chunked'. There
      is no table yet, so that None is 'chunked' today. 'mosaic_sm90' computes
      in bfloat16. It accepts float32 only if `jax.default_matmul_precision` is
      'bfloat16', and rounds it: relative errors are then about 4e-3 of outputs
      and 5e-3 of gradients, instead of 4e-7.
    tiles: a `mosaic_sm90_tiles.Tiles`, the settings of 'mosaic_sm90', which
      must be named; None is the entry of the table for these shapes, or a
      default.

  Returns:
    [B, L, H, V], and with `return_state` the float32 `State`.

  Raises:
    ValueError: shapes or dtypes do not fit together, a name is unknown, the
      normalizer is 'sum' and the weights of the map can vanish, or a prefix
      ends after its segment (under `jit`, where values are unknown, the prefix
      is cut there instead).
    NotImplementedError: the named implementation does not support these inputs,
      or documents have prefixes of their own and `sequence_axes` apply.

  Source: Arora et al. 2024, equation 3, https://arxiv.org/abs/2407.05483.
  """
  plain = segment_ids is None and mask is None and prefix_mask is None
  feature_map = inputs_lib.find_map(feature_map)
  inputs_lib.check_normalizer(normalizer, feature_map)
  inputs = inputs_lib.checked(
      *(q, k, v, k_enc, v_enc, prefix_len),
      prefix_mask=prefix_mask,
      segment_ids=segment_ids,
      mask=mask,
      state=initial_state,
      feature_map=feature_map,
  )
  options = {
      'feature_map': feature_map,
      'normalizer': normalizer,
      'plain': plain,
      'return_state': return_state,
      **implementations.given_tiles(tiles, implementation),
  }
  y, state = _run(
      inputs,
      _Call(
          tuple(IMPLEMENTATIONS.items()),
          tuple(SUMS.items()),
          implementations.names(implementation),
          tuple(implementations.unfit(implementation, v.shape[-1]).items()),
          tuple(options.items()),
          tuple(batch_axes),
          tuple(head_axes),
          tuple(sequence_axes),
      ),
  )
  return (y, state) if return_state else y


class _Call(NamedTuple):
  """Everything except arrays on which a call depends; hashable."""

  implementations: tuple[tuple[str, Callable[..., Any]], ...]
  sums: tuple[tuple[str, Callable[..., Any]], ...]
  names: tuple[str, ...]
  unfit: tuple[tuple[str, str], ...]
  options: tuple[tuple[str, Any], ...]
  batch_axes: tuple[str, ...]
  head_axes: tuple[str, ...]
  sequence_axes: tuple[str, ...]


@functools.partial(jax.jit, static_argnums=1)
def _run(inputs, call):
  """Compiled on its own if the caller does not compile, else inlined."""
  B, L, H, _ = inputs.q.shape
  parts = sharding.axes_that_divide(L, call.sequence_axes)
  specs, state_specs = inputs_lib.partition_specs(
      inputs,
      sharding.axes_that_divide(B, call.batch_axes),
      parts,
      sharding.axes_that_divide(H, call.head_axes),
  )
  options = dict(call.options)
  if not options['return_state']:
    state_specs = None

  def choose(operation, functions):
    arguments = operation, dict(functions), call.names
    return functools.partial(dispatch.run, *arguments, unfit=dict(call.unfit))

  run = choose('prefix_linear_attention', call.implementations)
  if parts:
    sequence_shards.check(inputs)
    add = choose('prefix_linear_attention (sums)', call.sums)
    attend = lambda x: sequence_shards.attend(parts, run, add, x, **options)
  else:
    attend = lambda x: run(inputs_lib.numbered(x), **options)
  return sharding.on_shards(attend, (specs,), (specs.q, state_specs))(inputs)
