"""AdamW or Muon, warm-up and cosine, clipping; skips bad steps.

The defaults are the paper's recipe.

Source: the training configs of the official repository,
https://github.com/HazyResearch/prefix-linear-attention.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jrt_jax.cost.weight import Weight

NORM_MEMORY = 100  # accepted steps over which gradient norms are averaged


def learning_rate(config: Mapping[str, Any], steps: int) -> optax.Schedule:
  """Linear warm-up to `peak_lr`, then a cosine to `min_lr` at step `steps`.

  A run that is shorter than its warm-up ends during the warm-up.

  Args:
    config: the `optimizer` keys of `configs/base.py`.
    steps: optimizer steps of the whole run.

  Returns:
    A function from the number of steps taken so far to a learning rate.
  """
  return optax.warmup_cosine_decay_schedule(
      init_value=config['initial_lr'],
      peak_value=config['peak_lr'],
      warmup_steps=config['warmup_steps'],
      decay_steps=max(steps, config['warmup_steps'] + 1),  # with the warm-up
      end_value=config['min_lr'],
  )


def build(
    config: Mapping[str, Any], steps: int, weights: Mapping[str, Weight]
) -> optax.GradientTransformationExtraArgs:
  """Returns the optimizer for a flat dict of parameters, with a SkipState.

  Args:
    config: the `optimizer` keys of `configs/base.py`.
    steps: optimizer steps of the whole run.
    weights: the parameters, from `cost.weights`, with their `decays`.
  """
  rate = learning_rate(config, steps)
  optimizer = _OPTIMIZERS[config['name']](config, rate, weights)
  clip = optax.identity()
  if config['clip_norm']:
    clip = optax.clip_by_global_norm(config['clip_norm'])
  return skip_bad_steps(optax.chain(clip, optimizer), config['spike_factor'])


def _adamw(config, rate, weights):
  return optax.adamw(
      rate,
      b1=config['b1'],
      b2=config['b2'],
      eps=config['eps'],
      weight_decay=config['weight_decay'],
      mask=lambda params: {name: weights[name].decays for name in params},
  )


def _muon(config, rate, weights):
  """Muon for matrices, each for itself if they are stacked; AdamW for the rest.

  Updates have the same root mean square for all shapes, near that of AdamW, so
  that both share the learning rate and the weight decay.

  Source: Liu et al. 2025, https://arxiv.org/abs/2502.16982.
  """
  matrices = {
      name: optax.contrib.MuonDimensionNumbers(*x.matrix)
      for name, x in weights.items()
      if x.matrix
  }
  muon = optax.contrib.muon(
      rate,
      beta=config['momentum'],
      weight_decay=config['weight_decay'],
      consistent_rms=config['update_rms'],
      muon_weight_dimension_numbers=lambda params: {
          name: matrices.get(name) for name in params
      },
  )
  return optax.partition(
      {'muon': muon, 'adamw': _adamw(config, rate, weights)},
      lambda params: {
          name: 'muon' if name in matrices else 'adamw' for name in params
      },
  )


_OPTIMIZERS = {'adamw': _adamw, 'muon': _muon}


class SkipState(NamedTuple):
  """State of `skip_bad_steps`; everything but `inner` is a scalar array."""

  accepted: jax.Array  # int32, accepted steps, which the schedule counts
  skipped: jax.Array  # int32, skipped steps
  consecutive: jax.Array  # int32, steps skipped since the last accepted one
  last_norm: jax.Array  # float32, norm of the newest gradients, also if skipped
  mean_norm: jax.Array  # float32, running mean of accepted gradient norms
  inner: optax.OptState


def skip_bad_steps(
    inner: optax.GradientTransformation, spike_factor: float = 0.0
) -> optax.GradientTransformationExtraArgs:
  """Skips steps that are not finite, or have much larger gradients than usual.

  A skipped step changes neither the parameters nor the state of `inner` (its
  moments and the step of its schedule): training continues as if the batch had
  never been drawn. Unlike `optax.apply_if_finite` this never gives up; the
  caller reads `consecutive` and decides.

  Args:
    inner: the optimizer, including clipping.
    spike_factor: also skip gradients whose global norm exceeds this multiple
      of the mean over the last `NORM_MEMORY` accepted steps, once there have
      been that many; 0: never.

  Returns:
    A transformation whose `update` also takes `value`, the loss. It skips the
    step unless the loss, the gradients and the updates of `inner` are finite.
  """

  def init(params):
    count, norm = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
    return SkipState(count, count, count, norm, norm, inner.init(params))

  def update(grads, state, params=None, *, value=0.0, **_):
    norm = optax.tree.norm(grads)  # XLA shares it with the clipping
    updates, inner_state = inner.update(grads, state.inner, params)
    good = jnp.isfinite(norm) & jnp.isfinite(value)
    good &= jnp.isfinite(optax.tree.norm(updates))
    if spike_factor:
      spike = norm > spike_factor * state.mean_norm
      good &= ~(spike & (state.accepted >= NORM_MEMORY))
    # A select fuses into the update loops; a cond would prevent that.
    keep = lambda new, old: jnp.where(good, new, old)
    memory = jnp.minimum(state.accepted + 1, NORM_MEMORY)
    return jax.tree.map(lambda u: keep(u, 0), updates), SkipState(
        accepted=state.accepted + good,
        skipped=state.skipped + ~good,
        consecutive=keep(0, state.consecutive + 1),
        last_norm=norm,
        mean_norm=keep(
            state.mean_norm + (norm - state.mean_norm) / memory,
            state.mean_norm,
        ),
        inner=jax.tree.map(keep, inner_state, state.inner),
    )

  return optax.GradientTransformationExtraArgs(init, update)
