"""The train step of a run, compiled before its weights are in memory."""

from collections.abc import Callable
import dataclasses
import time

import jax

from jrt_jax import models
from jrt_jax.cost import layout
from jrt_jax.reporting import units
from jrt_jax.runtime import distributed
from jrt_jax.runtime import memory
from jrt_jax.training import abstract
from jrt_jax.training import memory_advice
from jrt_jax.training.run import Run


def compile_step(
    run: Run,
    compile: Callable[[jax.stages.Lowered], jax.stages.Compiled] | None = None,
) -> jax.stages.Compiled:
  """Returns the compiled train step of a run; prints its memory on stderr.

  Args:
    compile: compiles it, or has it already; None: `Lowered.compile`.

  Raises:
    TooLittle: it needs more memory than is free; the message has flags with
      which it would fit.
  """
  distributed.tell('compiling …')
  start = time.perf_counter()
  program = _compile(run, run.steps, compile)
  need = memory.needed(program)
  took = units.duration(time.perf_counter() - start)
  distributed.tell(
      f'compiled in {took}: a step needs {units.size(need)} on each device'
  )
  free = _free()
  if need > free:
    distributed.tell(
        'that is more than is free: looking for settings that fit …'
    )
    advice = memory_advice.find(run, need, free, _needed)
    raise memory.TooLittle(
        f'a step takes {units.size(need)} on each device, but only'
        f' {units.size(free)} are free: {advice}'
    )
  return program


def _free():
  """The bytes that are free on every device of all processes; inf: unknown."""
  own = memory.free(jax.local_devices(), distributed.node_size())
  known = [
      x for x in distributed.everyones('free memory', own) if x is not None
  ]
  return min(known, default=float('inf'))


def _needed(run, microbatch, remat):
  steps = dataclasses.replace(
      run.steps,
      merge=models.abstract({**run.model, 'remat': remat})[0],
      accumulation=layout.check_batch(
          run.config['batch_size'], microbatch, run.mesh.shape
      ),
  )
  return memory.needed(_compile(run, steps))


def _compile(run, steps, compile=None):
  state, batch = run.abstract_state(), abstract.batch(run.config, run.mesh)
  with jax.set_mesh(run.mesh):
    lowered = steps.jitted(state).lower(state, batch)
    return compile(lowered) if compile else lowered.compile()
