"""The costs of models and runs, computed from configs; no jax."""

from jrt_jax.cost.model import parameters as parameters
from jrt_jax.cost.model import shapes as shapes
from jrt_jax.cost.model import state_bytes as state_bytes
from jrt_jax.cost.model import train_flops as train_flops
from jrt_jax.cost.model import weights as weights
