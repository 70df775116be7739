"""The train step of a run, compiled before its weights are in memory."""

import dataclasses
import sys
import time

import jax

from jrt_jax import models
from jrt_jax.cost import layout
from jrt_jax.reporting import units
from jrt_jax.runtime import distributed
from jrt_jax.runtime import memory
from jrt_jax.training import abstract
from jrt_jax.training.run import Run


def compile_step(run: Run) -> jax.stages.Compiled:
  """Returns the compiled train step of a run; prints its memory on stderr.

  Raises:
    TooLittle: it needs more memory than is free; the message has flags with
      which it would fit.
  """
  _tell('compiling …')
  start = time.perf_counter()
  program = _compile(run, run.steps)
  need = memory.needed(program)
  took = units.duration(time.perf_counter() - start)
  _tell(f'compiled in {took}: a step needs {units.size(need)} on each device')
  free = _free()
  if need > free:
    _tell('that is more than is free: looking for settings that fit …')
    raise memory.TooLittle(
        f'a step takes {units.size(need)} on each device, but only'
        f' {units.size(free)} are free: {_advice(run, need, free)}'
    )
  return program


def _free():
  """The bytes that are free on every device of all processes; inf: unknown."""
  own = memory.free(jax.local_devices())
  known = [
      x for x in distributed.everyones('free memory', own) if x is not None
  ]
  return min(known, default=float('inf'))


def _advice(run, need, free):
  """Flags with which a step would fit, found by compiling it."""
  rows = run.config['batch_size'] // layout.num_replicas(run.mesh.shape)
  now, remat = rows // run.steps.accumulation, run.config['model']['remat']
  if now > 1:
    least = _needed(run, 1, remat)
    if least <= free:
      # The memory of a step is a linear function of the microbatch.
      most = 1 + (now - 1) * (free - least) / (need - least)
      larger = max(n for n in range(1, now) if n <= most and not rows % n)
      if larger > 1 and (taken := _needed(run, larger, remat)) <= free:
        return _choice(larger, remat, taken)
      return _choice(1, remat, least)
  if (now, remat) != (1, 'full'):
    need = _needed(run, 1, 'full')
  if need <= free:
    return _choice(1, 'full', need)
  return (
      f'even {_choice(1, "full", need)}; use a smaller model, or'
      ' --config.mesh.fsdp to share its weights among devices'
  )


def _choice(microbatch, remat, taken):
  return (
      f'--config.microbatch_per_device={microbatch}'
      f' --config.model.remat={remat} takes {units.size(taken)}'
  )


def _needed(run, microbatch, remat):
  steps = dataclasses.replace(
      run.steps,
      merge=models.abstract({**run.model, 'remat': remat})[0],
      accumulation=layout.check_batch(
          run.config['batch_size'], microbatch, run.mesh.shape
      ),
  )
  return memory.needed(_compile(run, steps))


def _compile(run, steps):
  state, batch = run.abstract_state(), abstract.batch(run.config, run.mesh)
  with jax.set_mesh(run.mesh):
    return steps.jitted(state).lower(state, batch).compile()


def _tell(line):
  if distributed.is_first():
    print(line, file=sys.stderr, flush=True)
