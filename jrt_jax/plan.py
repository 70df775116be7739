r"""Estimates what a run would take: parameters, FLOPs, memory, time and money.

python -m jrt_jax.plan --config=configs/jrt_360m.py --topology=8xH100 \
    --price=2.50

The estimate is arithmetic and takes a second; jax is not imported. The default
of --mfu is a prediction that no GPU has confirmed: that of JRT-RNN 360M with
the Hopper kernels or, with --compile, that of the compiled step. The vocabulary
is that of the config, although training enlarges it for a tokenizer with more
ids.

--compile also compiles the train step, in minutes, and prints how much memory
it takes, what the GPUs exchange, and which kernels run. It needs no GPU.
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
    'NxGPU or NODESxNxGPU, where GPU is one of'
    f' {", ".join(sorted(topology.GPUS))}.',
)
_MFU = flags.DEFINE_float(
    'mfu',
    None,
    'FLOP/s of the model as a fraction of the peak of the GPUs in bfloat16;'
    f' default: the prediction {budget.PREDICTED_MFU:.3g}, or with --compile'
    ' that for the compiled step.',
    lower_bound=0.001,
    upper_bound=1.0,
)
_PRICE = flags.DEFINE_float(
    'price', None, 'Dollars per GPU-hour.', lower_bound=0.0
)
for _flag in ('mfu', 'price'):  # their bounds let nan pass
  flags.register_validator(
      _flag, lambda x: x is None or math.isfinite(x), 'must be a finite number'
  )
_COMPILE = flags.DEFINE_bool(
    'compile',
    False,
    'Compile the train step for these GPUs'
    f' ({" and ".join(topology.COMPILED)} only). This takes minutes and needs'
    ' the extra aot, but no GPU.',
)
_TRAFFIC = flags.DEFINE_bool(
    'traffic',
    False,
    'Also print what moves the most bytes, and a lower bound of the time of a'
    ' step; implies --compile.',
)
_OUT = flags.DEFINE_string('out', None, 'Write all figures to this file.')


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    out = _OUT.value and command_line.output_file(_OUT)
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
  """The figures that the compiled step adds or corrects; {} if none."""
  if gpus.name not in topology.COMPILED:
    _note(
        f'--compile supports {" and ".join(topology.COMPILED)} only, and is'
        f' ignored for {gpus.name}'
    )
    return {}
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')  # real GPUs stay free
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # XLA warns of slowness
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
