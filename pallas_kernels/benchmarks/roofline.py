"""The roofline: the least time for the necessary FLOPs and memory traffic."""

from typing import NamedTuple

D = 16  # width of queries and keys
F = 160  # features of a key, padded for the tensor cores
C = 128  # tokens of a chunk; all pairs inside it are computed
BYTES = 2  # of a bfloat16

# Assumptions for an H200: bytes copied and FLOPs of matrix products per second.
# They only choose the number of repetitions; fractions use measurements.
NOMINAL = {'bytes_per_second': 4.3e12, 'flops_per_second': 780e12}


class Workload(NamedTuple):
  """A call of an operation, in bfloat16."""

  B: int  # rows
  H: int  # heads
  L: int  # tokens
  P: int = 0  # positions of the prefix, all of them used
  V: int = 64  # width of values
  backward: bool = False  # whether gradients are computed, after the outputs


class Cost(NamedTuple):
  """The least FLOPs and bytes of a call."""

  flops: float
  bytes: float

  def milliseconds(
      self, *, bytes_per_second: float, flops_per_second: float
  ) -> float:
    """The least time of a device with these ceilings."""
    return 1e3 * max(
        self.bytes / bytes_per_second, self.flops / flops_per_second
    )


def prefix_linear_attention(w: Workload) -> Cost:
  """The cost in chunks; features are computed on the fly, states not counted.

  Forward, the outputs of a token take 2 C (D + V) FLOPs inside its chunk and
  2 F V from the state, and each key 2 F V. Backward, the gradients take
  2 C (3 D + 2 V) inside the chunk and 10 F V, of a prefix position 6 F V.
  """
  rows = w.B * w.H
  flops = w.L * (2 * C * (D + w.V) + 4 * F * w.V) + w.P * 2 * F * w.V
  numbers = w.L * (2 * D + 2 * w.V) + w.P * (D + w.V)  # q, k, v, y; the prefix
  if w.backward:
    flops += w.L * (2 * C * (3 * D + 2 * w.V) + 10 * F * w.V)
    flops += w.P * 6 * F * w.V
    # q, k, v, y, dy and dq, dk, dv; the prefix and its gradients
    numbers += w.L * (4 * D + 4 * w.V) + w.P * 2 * (D + w.V)
  return Cost(rows * flops, rows * numbers * BYTES)


def softmax_attention(w: Workload, window: int | None = None) -> Cost:
  """Causal attention with queries, keys and values of the same width V.

  Args:
    w: the workload; its prefix is ignored.
    window: the number of keys that a token sees, itself included; None: all.
  """
  pairs = w.L * (w.L + 1) / 2 if window is None else w.L * window
  flops, numbers = 4 * pairs * w.V, 4 * w.L * w.V
  if w.backward:
    flops, numbers = 3.5 * flops, 3 * numbers  # five products for two
  return Cost(w.B * w.H * flops, w.B * w.H * numbers * BYTES)


def gated_delta_rule(w: Workload, *, width: int, erases: bool) -> Cost:
  """The cost in chunks with keys of `width` D; states are not counted.

  Forward, the outputs of a token take 2 C (D + V) FLOPs inside its chunk and
  4 D V for the state. If writes erase, their products and a triangular system
  take 2 C D + C V and 2 D V more. Gradients take twice as many.
  """
  flops = 2 * C * (width + w.V) + 4 * width * w.V
  if erases:
    flops += 2 * C * width + C * w.V + 2 * width * w.V
  numbers = 2 * width + 2 * w.V  # q, k, v, y; decays are few
  if w.backward:
    flops, numbers = 3 * flops, 3 * numbers
  tokens = w.B * w.H * w.L
  return Cost(tokens * flops, tokens * numbers * BYTES)


def gated_convolution(*, B: int, L: int, channels: int, backward: bool) -> Cost:
  """silu(conv₃(u)) · gate; its FLOPs are negligible."""
  arrays = 8 if backward else 3  # u, gate, y; then u, gate, dy, du, dgate
  return Cost(0.0, arrays * B * L * channels * BYTES)
