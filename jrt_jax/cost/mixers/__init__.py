"""The mixers that a config can name, and their facts, without jax.

`MIXERS` has a line for each mixer, and a file of this folder its facts.
`Mixer.module` names the code that computes it.
"""

from jrt_jax.cost.mixers.base import Config
from jrt_jax.cost.mixers.base import head_width as head_width
from jrt_jax.cost.mixers.base import ITEM_BYTES as ITEM_BYTES
from jrt_jax.cost.mixers.base import Mixer as Mixer
from jrt_jax.cost.mixers.conv import CONV
from jrt_jax.cost.mixers.gated_delta_net import GDN
from jrt_jax.cost.mixers.gated_delta_net import PREFIX_GDN
from jrt_jax.cost.mixers.linear_attention import LA
from jrt_jax.cost.mixers.linear_attention import PLA
from jrt_jax.cost.mixers.mamba2 import MAMBA2
from jrt_jax.cost.mixers.mamba2 import PREFIX_MAMBA2
from jrt_jax.cost.mixers.softmax_attention import ATTENTION
from jrt_jax.cost.mixers.softmax_attention import SWA

MIXERS = {
    'conv': CONV,
    'pla': PLA,
    'la': LA,
    'swa': SWA,
    'attention': ATTENTION,
    'mamba2': MAMBA2,
    'gdn': GDN,
    'prefix_mamba2': PREFIX_MAMBA2,
    'prefix_gdn': PREFIX_GDN,
}


def reach(config: Config) -> float:
  """The most of `Mixer.reach` of the layers of a model; see there."""
  return max(MIXERS[x].reach(config) for x in config['mixers'])


def reading_prefix(config: Config) -> list[str]:
  """The mixers of a model that read a prefix, sorted: `Mixer.reads_prefix`.

  Args:
    config: `config.model` of a run.
  """
  return sorted(x for x in {*config['mixers']} if MIXERS[x].reads_prefix)


def state_grows(config: Config) -> bool:
  """Whether the decode state of a model grows with the number of tokens.

  Args:
    config: `config.model` of a run.
  """
  return any(MIXERS[x].state_grows for x in config['mixers'])
