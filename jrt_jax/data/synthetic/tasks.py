"""The synthetic tasks by their name in `config.data.source`."""

from jrt_jax.data.synthetic import forward_reference
from jrt_jax.data.synthetic import general_associative_recall
from jrt_jax.data.synthetic import mqar
from jrt_jax.data.synthetic import multi_hop
from jrt_jax.data.synthetic import needle
from jrt_jax.data.synthetic import selective_recall
from jrt_jax.data.synthetic import set_disjointness

TASKS = {
    'set_disjointness': set_disjointness.TASK,
    'mqar': mqar.TASK,
    'general_associative_recall': general_associative_recall.TASK,
    'selective_recall': selective_recall.TASK,
    'needle': needle.TASK,
    'forward_reference': forward_reference.TASK,
    'multi_hop': multi_hop.TASK,
}
