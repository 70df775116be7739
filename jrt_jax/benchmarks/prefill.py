"""Reading a prompt: how long it takes, and how its memory grows."""

from collections.abc import Mapping
import time
from typing import Any

import jax
import numpy as np

from jrt_jax.benchmarks import inference
from jrt_jax.benchmarks import timing
from jrt_jax.generation import pieces
from jrt_jax.generation import reading
from jrt_jax.training import throughput

_CALLS = 2  # prompts in a sample
_BLOCKS = (
    32,
    128,
)  # of two prompts, the longer of which needs more memory or not


def measure(config: Mapping[str, Any]) -> dict[str, Any]:
  """Reads `batch_size` prompts of `sequence_length` tokens, each at once.

  Returns:
    Milliseconds until the logits after the last token and the decode state are
    there, tokens a second, and bytes of the compiled program.

  Raises:
    FloatingPointError: the logits are not finite.
  """
  model = inference.serve(config)
  tokens = inference.prompts(config, config['sequence_length'])
  program = inference.compile_prefill(model, tokens)
  timed = timing.time_calls(
      lambda _: program(model.served, tokens), None, calls=_CALLS
  )
  inference.check_finite(timed.state[0])
  return timing.figures(timed.seconds, tokens=tokens.size) | {
      'compiled_bytes': timing.compiled_bytes(program)
  }


def measure_memory(config: Mapping[str, Any]) -> dict[str, Any]:
  """Reads prompts that are much longer than the model's prefix, in blocks.

  Must run in a process of its own: a peak of memory is never forgotten.

  Returns:
    The peak of memory, weights included, by the length of the prompt; its
    `growth` from the shorter to the longer one, 1 where it is flat; and the
    milliseconds and tokens a second of the longer one, read once.

  Raises:
    FloatingPointError: the logits are not finite.
  """
  model = inference.serve(config)
  peaks = {}
  for count in _BLOCKS:
    rows = np.asarray(inference.prompts(config, count * model.block))
    start = time.perf_counter()
    read = reading.read(
        model, [pieces.of_prompt(model, x, long='blocks') for x in rows]
    )
    jax.block_until_ready(read)
    seconds = time.perf_counter() - start
    inference.check_finite(read.logits)
    peaks[rows.shape[1]] = throughput.peak_memory()
  shorter, longer = peaks.values()
  return timing.figures([seconds], tokens=rows.size) | {
      'prompt_length': rows.shape[1],
      'peak_bytes_by_length': peaks,
      'growth': longer / shorter,
  }
