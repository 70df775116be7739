r"""Time and memory of the gated delta rule against the length.

python -m pallas_kernels.benchmarks.gated_delta_rule \
  --lengths=2048,4096,8192,16384,32768 --out=results.json

It times one row of tokens in chunks: with beta, heads as those of Gated
DeltaNet (`gdn`), and without, heads as those of Mamba-2 (`mamba2`). Memory and
time are those of pallas_kernels.benchmarks.prefix_linear_attention: what the
compiled program reserves besides its arguments and results; on a CPU, processor
time of one thread, the minimum of several rounds.
"""

import sys

import jax.numpy as jnp
import numpy as np

import pallas_kernels
from pallas_kernels.benchmarks import lengths

# Widths of a head of configs/gdn_360m.py and configs/mamba2_360m.py.
_WIDTHS = {'gdn': (128, 256), 'mamba2': (128, 64)}
_MODULE = 'pallas_kernels.benchmarks.gated_delta_rule'


def main(argv: list[str]) -> None:
  """Measures, prints a table and writes it as JSON if asked to."""
  operation = lengths.Operation(
      name='the gated delta rule, chunked',
      module=_MODULE,
      description=__doc__,
      shape={name: f'D {D} V {V}' for name, (D, V) in _WIDTHS.items()},
      implementations=dict.fromkeys(_WIDTHS, pallas_kernels.gated_delta_rule),
      default=(*_WIDTHS,),
      make_inputs=_make_inputs,
  )
  lengths.run(operation, argv)


def _make_inputs(name, length, heads, dtype):
  """Random arguments; keys have norm 1, and one group of Mamba-2 shares them."""
  rng = np.random.default_rng(0)
  D, V = _WIDTHS[name]
  groups = {'gdn': heads, 'mamba2': 1}[name]

  def normal(*shape):
    return rng.standard_normal((1, length, *shape)).astype(jnp.dtype(dtype))

  k = normal(groups, D).astype('float32')
  k /= np.linalg.norm(k, axis=-1, keepdims=True)
  inputs = {
      'q': normal(groups, D),
      'k': k.astype(jnp.dtype(dtype)),
      'v': normal(heads, V),
      'log_decay': -rng.exponential(0.1, (1, length, heads)).astype('float32'),
  }
  if name == 'gdn':
    inputs['beta'] = rng.uniform(size=(1, length, heads)).astype('float32')
  return inputs


if __name__ == '__main__':
  lengths.start_in_one_thread(_MODULE, sys.argv[1:])
  main(sys.argv[1:])
