r"""Says what a run would take: parameters, FLOPs, memory, time and money.

python -m jrt_jax.plan --config=configs/jrt_360m.py --topology=8xH100 \
    --price=2.50

All of it is arithmetic: no GPU is needed, nothing is compiled. How well the
GPUs are used (--mfu) is a prediction for JRT-RNN 360M with the Hopper kernels,
which no GPU has confirmed. The vocabulary is that of the config: training makes
room in it for a tokenizer that has more ids.
"""

import json
import math

from absl import app
from absl import flags
from ml_collections import config_flags

from jrt_jax import command_line
from jrt_jax.training import budget
from jrt_jax.training import budget_table
from jrt_jax.training import topology

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
    f' prediction {budget.PREDICTED_MFU}.',
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
_JSON = flags.DEFINE_string('json', None, 'A file for all of it, as JSON.')


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    out = _JSON.value and command_line.output_file('--json', _JSON.value)
    found = budget.make(
        _CONFIG.value.to_dict(),
        topology.parse(_TOPOLOGY.value),
        mfu=_MFU.value,
        price=_PRICE.value,
    )
    if out:
      out.write_text(json.dumps(found, indent=1, allow_nan=False) + '\n')
    print(budget_table.table(found))


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser(config='config'))
