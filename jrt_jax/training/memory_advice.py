"""What would fit, where a train step takes more memory than there is."""

from collections.abc import Callable

from jrt_jax.cost import layout
from jrt_jax.reporting import units
from jrt_jax.training.run import Run


def find(
    run: Run, need: int, free: float, needed: Callable[[Run, int, str], int]
) -> str:
  """Returns flags with which a step would fit, found by compiling it.

  Args:
    run: whose step does not fit.
    need: bytes that its step takes of a device.
    free: bytes that there are.
    needed: maps a run, a microbatch and a `remat` to the bytes that a step takes.
  """
  rows = run.config['batch_size'] // layout.num_replicas(run.mesh.shape)
  now, remat = rows // run.steps.accumulation, run.config['model']['remat']
  if now > 1:
    least = needed(run, 1, remat)
    if least <= free:
      # The memory of a step is a linear function of the microbatch.
      most = 1 + (now - 1) * (free - least) / (need - least)
      larger = max(n for n in range(1, now) if n <= most and not rows % n)
      if larger > 1 and (taken := needed(run, larger, remat)) <= free:
        return _choice(larger, remat, taken)
      return _choice(1, remat, least)
  if (now, remat) != (1, 'full'):
    need = needed(run, 1, 'full')
  if need <= free:
    return _choice(1, 'full', need)
  return (
      f'even {_choice(1, "full", need)}; use a smaller model, or'
      ' --config.mesh.fsdp to share its weights among devices, or'
      ' --config.mesh.sequence to divide rows among them'
  )


def _choice(microbatch, remat, taken):
  return (
      f'--config.microbatch_per_device={microbatch}'
      f' --config.model.remat={remat} takes {units.size(taken)}'
  )
