"""The flags of a command whose processes find each other."""

from collections.abc import Callable

from absl import flags

from jrt_jax.runtime import clusters
from jrt_jax.runtime import distributed

flags.disclaim_key_flags()  # --help shows them with the command's own flags


def define() -> Callable[[], distributed.Peers]:
  """Defines the flags, and returns what joins the other processes by them."""
  holders = {
      'cluster': flags.DEFINE_string(
          'cluster',
          'auto',
          'How several processes find each other:'
          f" auto, {', '.join(clusters.CLUSTERS)}.",
      ),
      'coordinator': flags.DEFINE_string(
          'coordinator',
          None,
          'HOST:PORT of process 0, if the cluster does not provide it.',
      ),
      'num_processes': flags.DEFINE_integer(
          'num_processes',
          None,
          'The number of processes, if the cluster does not provide it.',
      ),
      'process_id': flags.DEFINE_integer(
          'process_id',
          None,
          'The number of this process, from 0, if the cluster does not provide'
          ' it.',
      ),
      'local_device_ids': flags.DEFINE_list(
          'local_device_ids',
          None,
          'The GPUs of its node that this process uses, as in 0,1.',
      ),
  }
  return lambda: distributed.meet(**{k: x.value for k, x in holders.items()})
