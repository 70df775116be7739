"""Chooses the implementation of linear attention if the config says `auto`.

On a Hopper GPU for which no measurements are recorded, a separate process
checks that the kernels compute the right results. It does so once for a machine
and its versions, before this process opens a device.
"""

from collections.abc import Mapping, Sequence
import functools
import sys
from typing import Any, NamedTuple

from jrt_jax.cost import kernels as cost
from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.runtime import distributed
from jrt_jax.runtime import gpus
from jrt_jax.runtime import user_cache
from pallas_kernels.benchmarks import machine
from pallas_kernels.prefix_linear_attention import mosaic_sm90_devices
from pallas_kernels.selfcheck import kept
from pallas_kernels.selfcheck import verdict

FALLBACK = 'chunked'

_MINUTES = 2 * verdict.LIMIT / 60  # to describe the device, and for the check


class Choice(NamedTuple):
  """The implementation of linear attention, and why it was chosen.

  Attributes:
    implementation: a value of `config.model.implementation`; 'auto' if there
      was no choice.
    reason: in words; empty if there was no choice.
    unanswered: whether the check crashed or hung, so that a run that continues
      repeats it.
  """

  implementation: str
  reason: str = ''
  unanswered: bool = False

  def __str__(self) -> str:
    return f'linear attention: {self.implementation}, because {self.reason}'


def here(model: Mapping[str, Any], ids: Sequence[int] | None = None) -> Choice:
  """Chooses for the first GPU of this process, without opening a GPU.

  Args:
    model: `config.model`, whose implementation is 'auto'.
    ids: the GPUs that this process uses; None: all that it sees.
  """
  V = cost.value_width(model)
  gpu = gpus.first(ids) if V else None
  if gpu is None or machine.unfit(_described(gpu)):
    return Choice('auto')
  if mosaic_sm90_devices.is_measured(gpu.kind, V):
    return Choice(
        KERNELS_OR_CHUNKED, f'the kernels were measured on {gpu.kind}'
    )
  return _asked(V, gpu)


def decided(model: Mapping[str, Any]) -> dict[str, Any]:
  """Returns `config.model` with the choice of `here`, printed on stderr.

  An implementation that the config names is kept.
  """
  model = {**model}
  if model['implementation'] == 'auto':
    choice = here(model)
    model['implementation'] = choice.implementation
    if choice.reason:
      print(choice, file=sys.stderr, flush=True)
  return model


def _described(gpu):
  return {
      'platform': 'gpu',
      'device': gpu.kind,
      'compute_capability': gpu.compute_capability,
  }


@functools.cache  # a second check would run on a GPU that is in use
def _asked(V, gpu):
  found = _verdict(V, gpu)
  if found.reason is None:
    return Choice(KERNELS_OR_CHUNKED, f'the kernels are right on {gpu.kind}')
  return Choice(
      FALLBACK,
      f'the kernels may not run on {gpu.kind}: {found.reason}',
      unanswered=found.report is None,
  )


def _verdict(V, gpu):
  """The result of the check, from the cache or run now."""
  right = verdict.Verdict(V, None)
  caches = user_cache.folder()
  if caches is None:
    return _check(V, gpu)
  folder = caches / 'kernels'
  about = kept.about(V, {'kind': gpu.kind, 'driver': gpu.driver})
  if kept.has(folder, about):
    return right
  # Several checks at once may be too slow to compile within the time limit.
  waiting = f'waiting for another check of the Hopper kernels on {gpu.kind} …'
  with kept.turn(folder, lambda: distributed.tell(waiting)):
    if kept.has(folder, about):  # the other check has passed
      return right
    found = _check(V, gpu)
    if found.reason is None:
      kept.add(folder, about)
  return found


def _check(V, gpu):
  distributed.tell(
      f'checking the Hopper kernels on {gpu.kind}, which takes at most'
      f' {_MINUTES:g} minutes …'
  )
  (found,) = verdict.decide([V], gpu=gpu.id)
  return found
