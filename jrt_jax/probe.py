r"""Measures what limits recall, in small experiments with known results.

python -m jrt_jax.probe
python -m jrt_jax.probe --only=needle,capacity --out=probes.json

  set_disjointness  what a state must hold, for either order of two sets
  capacity          how many pairs can be recalled with each feature map
  needle            which models can find a value with one slot of state
  learned_prefix    how much learned prefix lengths gain on simulated prompts

Each has controls that must fail. Figures are means over three seeds with their
standard deviation; the ranges in which they should lie are shown below them.
Only the policies of `learned_prefix` are trained, and no run is needed. Exit
codes: 0 if all figures lie in their ranges, 1 if one does not, 2 for a mistake
in the command, 130 after Ctrl-C.
"""

import importlib
import sys

from absl import app
from absl import flags
import numpy as np
import tqdm

from jrt_jax import command_line
from jrt_jax.evaluation import synthetic
from jrt_jax.evaluation.synthetic import probes
from jrt_jax.reporting import provenance

# Modules with a PROBE; some take seconds to import.
_PROBES = ('set_disjointness', 'capacity', 'needle', 'learned_prefix')
_NUM_SEEDS = 3

_ONLY = flags.DEFINE_list('only', [*_PROBES], 'Names of probes; default: all.')
_SEED = flags.DEFINE_integer(
    'seed', 0, 'The first of three consecutive seeds.', lower_bound=0
)
_OUT = flags.DEFINE_string('out', None, 'A JSON file for all figures.')
command_line.define_compilation_cache()


def main(argv: list[str]) -> None:
  del argv
  names = dict.fromkeys(_ONLY.value)
  with command_line.one_line_errors():
    if unknown := [name for name in names or [''] if name not in _PROBES]:
      raise ValueError(
          f'--only must name some of {",".join(_PROBES)}, got {unknown[0]!r}'
      )
    out = _OUT.value and command_line.output_file(_OUT)
  command_line.use_compilation_cache()
  seeds = [_SEED.value + i for i in range(_NUM_SEEDS)]
  results = _measure(names, seeds)
  if out:
    figures = {name: probes.to_json(x) for name, x in results.items()}
    record = {'seeds': seeds, 'probes': figures}
    with command_line.one_line_errors():
      provenance.write_json(out, record)
    print(f'wrote {_OUT.value}')
  held = [e.holds() for x in results.values() for e in x.expectations]
  print(f'{sum(held)} of {len(held)} expectations hold')
  sys.exit(0 if all(held) else command_line.FAILURE)


def _measure(names, seeds):
  """Returns the results, and prints each as soon as it is measured."""
  results = {}
  with tqdm.tqdm(total=len(names) * len(seeds), disable=None) as progress:
    for name in names:
      progress.set_description(name)
      probe = importlib.import_module(f'{synthetic.__name__}.{name}').PROBE
      measured = []
      for seed in seeds:
        measured.append(probe.measure(np.random.default_rng(seed)))
        progress.update()
      results[name] = probes.summarize(probe, measured)
      progress.write(probes.report(results[name]) + '\n')
  return results


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
