"""Generating tokens, with the compiled loop of `jrt_jax.generate`."""

from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrt_jax import cost
from jrt_jax.benchmarks import inference
from jrt_jax.benchmarks import timing
from jrt_jax.generation import completions
from jrt_jax.generation import pieces
from jrt_jax.generation import reading
from jrt_jax.generation import sizes
from jrt_jax.models import decode
from jrt_jax.models import sampling

_EARLIER = 64  # drift is from a position so many times nearer to the start


def measure(config: Mapping[str, Any]) -> dict[str, Any]:
  """Continues `batch_size` prompts of `sequence_length` tokens.

  Returns:
    Milliseconds until every row has one more token, tokens a second over all
    rows, bytes of the decode state of a row, and of the compiled loop.

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
    What `measure` does for the later tokens; `drift`, their time over that of
    the earlier ones; and bytes of the decode state by position.

  Raises:
    FloatingPointError: the logits are not finite.
  """
  model = inference.serve(config)
  position = config['sequence_length']
  both = [
      _Decoding(model, at) for at in (max(position // _EARLIER, 1), position)
  ]
  for _ in range(timing.samples()):  # taking turns, so that both are disturbed
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

  Each call decodes the same positions anew, so that states which grow keep the
  size that a first continuation needs.
  """

  def __init__(self, model, position):
    self.position = position
    self._config = config = model.config
    prompts = np.asarray(inference.prompts(config, position))
    read = reading.read(
        model,
        [pieces.of_prompt(model, tokens) for tokens in prompts],
        room=completions.CHUNK,
    )
    self._draw = functools.partial(
        decode.decode,
        num_tokens=completions.CHUNK,
        num_ids=config['model']['mask_id'],
        sampling=sampling.FOR_TEXT,
    )
    self._weights = model.merge, model.served
    keys = jax.vmap(jax.random.key)(np.arange(len(prompts)))
    draws = decode.Draws(keys, jnp.int32(0), seen=None)
    draws = jax.device_put(draws, read.logits.sharding)
    self.timed = timing.Timed(self._again, (read.logits, read.states, draws))

  def state_bytes(self):
    """Of a row."""
    _, states, _ = self.timed.state
    total = sum(x.nbytes for x in jax.tree.leaves(states))
    return total // self._config['batch_size']

  def figures(self):
    inference.check_finite(self.timed.state[0])
    program = self._draw.func.lower(
        *self._weights, *self.timed.state, **self._draw.keywords
    )
    tokens = self.position + completions.CHUNK
    return timing.figures(
        self.timed.seconds,
        tokens=self._config['batch_size'],
        parts=completions.CHUNK,
    ) | {
        'state_bytes': self.state_bytes(),
        'expected_state_bytes': cost.state_bytes(
            self._config['model'], length=sizes.slots_for(tokens)
        ),
        'compiled_bytes': timing.compiled_bytes(program.compile()),
    }

  def _again(self, carry):
    """Logits, states and draws after tokens at the position of `carry`."""
    _, states, _ = carry
    _, logits, following, draws = self._draw(*self._weights, *carry)
    return logits, jax.tree.map(_keep_counts, following, states), draws


def _keep_counts(new, old):
  """Integers of a state count tokens: they stay."""
  return old if jnp.issubdtype(new.dtype, jnp.integer) else new
