"""Measures reading a prompt: its time, and how its memory grows."""

from collections.abc import Mapping
import time
from typing import Any

import jax

from jrt_jax.benchmarks import inference
from jrt_jax.benchmarks import timing
from jrt_jax.reporting import throughput

_CALLS = 2  # prompts in a sample
_BLOCKS = (32, 128)  # the lengths of two prompts, to see whether memory grows


def measure(config: Mapping[str, Any]) -> dict[str, Any]:
  """Reads `batch_size` prompts of `sequence_length` tokens, as `generate` does.

  Returns:
    Milliseconds until the logits after the last token and the decode state are
    ready, and tokens a second.

  Raises:
    FloatingPointError: the logits are not finite.
  """
  model = inference.serve(config)
  rows = inference.prompts(config, config['sequence_length'])
  timed = timing.time_calls(
      lambda _: inference.read(model, rows), None, calls=_CALLS
  )
  inference.check_finite(timed.state.logits)
  return timing.figures(timed.seconds, tokens=rows.size)


def measure_memory(config: Mapping[str, Any]) -> dict[str, Any]:
  """Reads prompts that are much longer than the model's prefix, in blocks.

  It must run in a process of its own, because the peak of memory is never
  reset.

  Returns:
    The peak of memory, weights included, by the length of the prompt; its
    `growth` from the shorter to the longer prompt (1 is no growth); and the
    milliseconds and tokens a second of the longer one, read once.

  Raises:
    FloatingPointError: the logits are not finite.
  """
  model = inference.serve(config)
  peaks = {}
  for count in _BLOCKS:
    rows = inference.prompts(config, count * model.block)
    start = time.perf_counter()
    read = inference.read(model, rows, long='blocks')
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
