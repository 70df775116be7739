"""Generating tokens, with the whole loop compiled."""

from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jrt_jax.benchmarks import inference
from jrt_jax.benchmarks import timing
from jrt_jax.models import cost
from jrt_jax.models import decode
from jrt_jax.models import sampling

_EARLIER = 64  # drift is from a position so many times nearer to the start


def measure(config: Mapping[str, Any]) -> dict[str, Any]:
  """Continues `batch_size` prompts of `sequence_length` tokens, greedily.

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
    self._num_tokens = config['sample_tokens']
    tokens = inference.prompts(config, position)
    prefill = inference.compile_prefill(model, tokens, room=self._num_tokens)
    start = prefill(model.params, tokens)
    loop = functools.partial(
        _continue,
        model.merge,
        num_tokens=self._num_tokens,
        num_ids=config['model']['mask_id'],
    )
    loop = jax.jit(loop, donate_argnums=1)
    self._program = loop.lower(model.params, start).compile()
    self.timed = timing.Timed(
        lambda carry: self._program(model.params, carry), start
    )

  def state_bytes(self):
    """Of a row."""
    state = self.timed.state[1]
    total = sum(x.nbytes for x in jax.tree.leaves(state))
    return total // self._config['batch_size']

  def figures(self):
    inference.check_finite(self.timed.state[0])
    return timing.figures(
        self.timed.seconds,
        tokens=self._config['batch_size'],
        parts=self._num_tokens,
    ) | {
        'state_bytes': self.state_bytes(),
        'expected_state_bytes': cost.state_bytes(
            self._config['model'], length=self.position + self._num_tokens
        ),
        'compiled_bytes': timing.compiled_bytes(self._program),
    }


def _continue(merge, params, start, num_tokens, num_ids):
  """Logits and state after so many tokens more, at the position of `start`."""
  keys = jax.random.split(jax.random.key(0), len(start[0]))
  _, logits, state, _ = decode.decode(
      *(merge, params, *start),
      decode.Draws(keys, jnp.int32(0), seen=None),
      num_tokens=num_tokens,
      num_ids=num_ids,
      sampling=sampling.Sampling(),
  )
  return logits, jax.tree.map(_keep_counts, state, start[1])


def _keep_counts(new, old):
  """Integers of a state count tokens: they stay."""
  return old if jnp.issubdtype(new.dtype, jnp.integer) else new
