"""The optimizers that a config can name: their settings and their memory.

`training/optimizer.py` has their computation.
"""

from collections.abc import Callable
from typing import NamedTuple

from jrt_jax.cost.weight import Weight


class Optimizer(NamedTuple):
  """The facts of an optimizer.

  Attributes:
    moments: maps a parameter to the number of arrays of its shape that the
      optimizer keeps.
    settings: the keys of `config.optimizer` that only it reads.
  """

  moments: Callable[[Weight], int]
  settings: tuple[str, ...] = ()


OPTIMIZERS = {
    'adamw': Optimizer(moments=lambda weight: 2),
    'muon': Optimizer(
        moments=lambda weight: 1 if weight.matrix else 2,
        settings=('momentum', 'update_rms'),
    ),
}
