"""What a model and a run cost, from a config alone: nothing here imports jax."""

from jrt_jax.cost.model import parameters as parameters
from jrt_jax.cost.model import shapes as shapes
from jrt_jax.cost.model import state_bytes as state_bytes
from jrt_jax.cost.model import train_flops as train_flops
from jrt_jax.cost.model import weights as weights
