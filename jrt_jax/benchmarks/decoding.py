"""Measures decoding, with the compiled loop of `jrt_jax.generate`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax import cost
from jrt_jax.benchmarks import inference
from jrt_jax.benchmarks import timing
from jrt_jax.generation import decode_loop
from jrt_jax.generation import prefill
from jrt_jax.generation import sizes
from jrt_jax.models import decode
from jrt_jax.models import sampling
from jrt_jax.runtime import memory

_EARLIER = 64  # drift compares with a position this many times nearer to 0


def measure(config: Mapping[str, Any]) -> dict[str, Any]:
  """Continues `batch_size` prompts of `sequence_length` tokens.

  Returns:
    Milliseconds for one more token in every row, tokens a second over all rows,
    bytes of the decode state of a row, and bytes of the compiled loop.

  Raises:
    FloatingPointError: the logits are not finite.
  """
  model = inference.serve(config)
  decoding = _Decoding(model, config['sequence_length'])
  for _ in range(timing.samples()):
    decoding.timed.sample(1)
  return decoding.figures()


def measure_drift(config: Mapping[str, Any]) -> dict[str, Any]:
  """Compares tokens after `sequence_length` others with earlier ones.

  Returns:
    The figures of `measure` for the later tokens; `drift`, their time divided
    by that of the earlier ones; and bytes of the decode state by position.

  Raises:
    FloatingPointError: the logits are not finite.
  """
  model = inference.serve(config)
  position = config['sequence_length']
  both = [
      _Decoding(model, at) for at in (max(position // _EARLIER, 1), position)
  ]
  for _ in range(timing.samples()):  # alternating: disturbances affect both
    for decoding in both:
      decoding.timed.sample(1)
  earlier, later = (decoding.figures() for decoding in both)
  return later | {
      'drift': later['ms'] / earlier['ms'],
      'state_bytes_by_position': {
          decoding.position: decoding.state_bytes() for decoding in both
      },
  }


class _Decoding:
  """Prompts that have been read, and the loop that continues them.

  Each call decodes the same positions again, so that growing states keep the
  size of a first continuation.
  """

  def __init__(self, model, position):
    self.position = position
    self._model, self._config = model, model.config
    prompts = inference.prompts(model.config, position)
    read = inference.read(model, prompts)
    sampler = decode_loop.start(model, read, np.arange(len(prompts)), seen=None)
    self.timed = timing.Timed(self._again, (read, sampler))

  def state_bytes(self):
    """The bytes of the decode state of a row."""
    return prefill.state_bytes(self.timed.state[0])

  def figures(self):
    read, sampler = self.timed.state
    inference.check_finite(read.logits)
    args, options = decode_loop.arguments(
        self._model, read, sampler, **self._how()
    )
    return timing.figures(
        self.timed.seconds,
        tokens=self._config['batch_size'],
        parts=decode.MAX_TOKENS,
    ) | {
        'state_bytes': self.state_bytes(),
        'expected_state_bytes': cost.state_bytes(
            self._config['model'],
            length=sizes.slots_for(self.position + decode.MAX_TOKENS),
        ),
        'compiled_bytes': memory.needed(
            decode.decode.lower(*args, **options).compile()
        ),
    }

  def _how(self):
    """The arguments of `generate`; no text ends before `MAX_TOKENS` tokens."""
    return {
        'tokens': decode.MAX_TOKENS,
        'rows': np.ones(self._config['batch_size'], bool),
        'may_end': np.zeros(self._config['model']['mask_id'], bool),
        'sampling': sampling.FOR_TEXT,
    }

  def _again(self, carry):
    """The next arguments of the loop, moved back to the same position."""
    counts = [_count(x) for x in jax.tree.leaves(carry[0].states)]
    _, read, sampler = decode_loop.run(self._model, *carry, **self._how())
    leaves, tree = jax.tree.flatten(read.states)
    leaves = [
        x if count is None else jax.device_put(count, x.sharding)
        for x, count in zip(leaves, counts)
    ]
    return read._replace(states=jax.tree.unflatten(tree, leaves)), sampler


def _count(x):
  """A copy of the token counters of a state; None for all other leaves."""
  return np.array(x) if jnp.issubdtype(x.dtype, jnp.integer) else None
