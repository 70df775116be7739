r"""Says what a run would take: parameters, FLOPs, memory, time and money.

python -m jrt_jax.plan --config=configs/jrt_360m.py --topology=8xH100 \
    --price=2.50

All of it is arithmetic, in a second, without jax. How well the GPUs are used
(--mfu) is a prediction, which no GPU has confirmed: for JRT-RNN 360M with the
Hopper kernels or, with --compile, for the step that was compiled. The vocabulary
is that of the config: training makes room in it for a tokenizer that has more ids.

--compile asks the compiler as well, in minutes: what a step takes of the memory,
what GPUs exchange, which kernels run. No GPU is needed for it either.
"""

import json
import math
import os
import sys

from absl import app
from absl import flags
from ml_collections import config_flags

from jrt_jax import command_line
from jrt_jax.cost import topology
from jrt_jax.planning import budget
from jrt_jax.planning import budget_table
from jrt_jax.planning import compiled_table
from jrt_jax.planning import microbatches

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'A file of configs/; --config.KEY=VALUE changes a key.'
)
_TOPOLOGY = flags.DEFINE_string(
    'topology',
    '8xH100',
    f'GPUs: NxGPU or NODESxNxGPU, of {", ".join(sorted(topology.GPUS))}.',
)
_MFU = flags.DEFINE_float(
    'mfu',
    None,
    'Model FLOP/s over the peak of the GPUs in bfloat16; default: the'
    f' prediction {budget.PREDICTED_MFU:.3g}, or with --compile that of the step.',
    lower_bound=0.001,
    upper_bound=1.0,
)
_PRICE = flags.DEFINE_float(
    'price', None, 'Dollars for an hour of a GPU.', lower_bound=0.0
)
for _flag in ('mfu', 'price'):  # their bounds let nan pass
  flags.register_validator(
      _flag, lambda x: x is None or math.isfinite(x), 'must be a finite number'
  )
_COMPILE = flags.DEFINE_bool(
    'compile',
    False,
    'Compile the train step for these GPUs, which need not be there, in minutes;'
    f' for {" and ".join(topology.COMPILED)}; needs the extra aot.',
)
_TRAFFIC = flags.DEFINE_bool(
    'traffic',
    False,
    'With --compile, which it implies: what moves the most bytes, and how long a'
    ' step takes at least.',
)
_JSON = flags.DEFINE_string('json', None, 'A file for all of it, as JSON.')


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    out = _JSON.value and command_line.output_file('--json', _JSON.value)
    config = _CONFIG.value.to_dict()
    gpus = topology.parse(_TOPOLOGY.value)
    found = budget.make(config, gpus, mfu=_MFU.value, price=_PRICE.value)
    if _COMPILE.value or _TRAFFIC.value:
      found |= _compile(config, gpus, found)
    if out:
      out.write_text(json.dumps(found, indent=1, allow_nan=False) + '\n')
    print(budget_table.table(found))
    if 'compiled' in found:
      print('\n' + compiled_table.table(found, with_traffic=_TRAFFIC.value))


def _compile(config, gpus, found):
  """What the compiler says, and what it corrects; {} where there is none."""
  if gpus.name not in topology.COMPILED:
    _note(
        f'nothing is compiled for {gpus.name}, of which this jax has no'
        f' description: only for {" and ".join(topology.COMPILED)}'
    )
    return {}
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # real GPUs stay free
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # XLA says it is slow
  from pallas_kernels import virtual_gpus  # pylint: disable=g-import-not-at-top

  if reason := virtual_gpus.missing():
    raise ValueError(f'--compile: {reason}')
  from jrt_jax.planning import aot  # pylint: disable=g-import-not-at-top

  config = budget.decided(config, gpus)
  compiled = aot.compile_step(config, gpus)
  said = aot.describe(compiled, config, gpus, found['mesh'])
  return {
      'compiled': said,
      'run': budget.run(
          config,
          gpus,
          mfu=_MFU.value,
          price=_PRICE.value,
          mfu_at_most=said['traffic']['mfu'],
      ),
      'microbatches': microbatches.largest(
          config,
          found['mesh'],
          gpus.gpu.memory_gib * 2**30,
          compiled_peak=said['bytes']['peak'],
      ),
  }


def _note(line):
  print(f'note: {line}', file=sys.stderr)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser(config='config'))
