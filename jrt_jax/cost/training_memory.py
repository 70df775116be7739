"""What a training step takes of a device's memory, from the config alone.

An estimate: what autodiff has to keep. XLA decides, and `jrt_jax.plan --compile`
asks it: of the 360M and 1.3B models on H100 GPUs (jax 0.11.2, November 2026) it
said what is estimated here within 3 %, of programs with one to three layers within
5 %, if nothing is recomputed. With remat the estimate is what would do: XLA puts off
the gradients of weights, and holds what they are made of, as long as there is room.
Where weights are shared (fsdp) the estimate is too high, as XLA gathers those of few
layers at once: of three layers of 360M on fsdp 8 it is 3.6 GB, XLA said 2.2 GB.
"""

from collections.abc import Mapping
from typing import Any

from jrt_jax.cost import layout
from jrt_jax.cost.mixers import ITEM_BYTES
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.cost.model import weights as weights_of

LOSS_BLOCK = 64  # positions of a row whose logits exist at once
_FLOAT32 = 4
# A layer that is computed once more, and its derivatives, over what it keeps.
_AGAIN = 2
# What backward finds in memory, by `config.model.remat`, from most to least.
REMAT = 'none', 'dots', 'full'


def state_bytes(
    model: Mapping[str, Any], mesh: Mapping[str, int], accumulation: int
) -> dict[str, int]:
  """Returns the bytes of a train state and gradients on each device.

  All of them are float32, and lie as the weights do. The dozen counters of the
  optimizer are left out.

  Args:
    model: `config.model`.
    mesh: devices along each axis.
    accumulation: microbatches in a batch: of several, the gradients of one are
      there beside their sum.
  """
  weights = _FLOAT32 * layout.num_own(weights_of(model), mesh)
  gradients = weights * (1 if accumulation == 1 else 2)
  return {'weights': weights, 'gradients': gradients, 'moments': 2 * weights}


def working_bytes(
    config: Mapping[str, Any],
    *,
    mesh: Mapping[str, int],
    microbatch: int,
    sequence_length: int,
    prefix_capacity: float,
) -> dict[str, int]:
  """Bytes on each device beside weights, gradients and moments, by what they are.

  Args:
    config: `config.model` of a run; its `remat` decides how much is kept.
    mesh: devices along each axis.
    microbatch: sequences on a device at once.
    sequence_length: tokens of a sequence.
    prefix_capacity: how much of a sequence a prefix may be.
  """
  E, size, tensor = config['width'], ITEM_BYTES[config['dtype']], mesh['tensor']
  tokens = microbatch * sequence_length
  weights = weights_of(config)
  rows, _ = weights['embedding.embedding'].shape
  gathered = layout.num_own(weights, {**mesh, 'fsdp': 1})
  # What the last layer gives, as the loss reads it; and the derivatives.
  ends = tokens * E * (2 * ITEM_BYTES[config['residual_dtype']] + 2 * size)
  logits = microbatch * LOSS_BLOCK * rows
  return {
      'weights to multiply': size * gathered,
      'activations': round(
          tokens * _layers(config, prefix_capacity, tensor) + ends
      ),
      # And their derivatives; those of the embedding, of one block and of all.
      'logits': 2 * (size * logits + _FLOAT32 * rows * E) // tensor,
  }


def peak_bytes(state: Mapping[str, int], working: Mapping[str, int]) -> int:
  """Returns the most that a step takes of a device at once.

  Activations are all there before the gradients of their microbatch are.

  Args:
    state: from `state_bytes`.
    working: from `working_bytes`.
  """
  both = sum(state.values()) + sum(working.values())
  of_microbatch = state['weights']
  return both - min(of_microbatch, working['activations'] + working['logits'])


def _layers(config, capacity, tensor):
  """Bytes per token of all layers."""
  E, M = config['width'], config['mlp_width']
  size, remat = ITEM_BYTES[config['dtype']], config['remat']
  kept, whole = [], []
  for mixer in config['mixers']:
    projected, inside = MIXERS[mixer].kept(config, capacity)
    dots = size * ((projected + 2 * M) / tensor + 2 * E)
    everything = size * ((inside + 3 * M) / tensor + 2 * E)
    whole.append(everything)
    kept.append({'none': everything, 'dots': dots, 'full': 0}[remat])
  if remat == 'none':  # the residual stream is not kept: norms do without
    return sum(kept)
  # What a layer reads, and once more inside it.
  stream = ITEM_BYTES[config['residual_dtype']] * E
  return len(kept) * stream + sum(kept) + _AGAIN * (max(whole) + stream)
