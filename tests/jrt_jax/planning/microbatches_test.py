import pytest

from configs import jrt_360m
from jrt_jax.cost import training_memory
from jrt_jax.planning import microbatches

MESH = {'data': 8, 'fsdp': 1, 'sequence': 1, 'tensor': 1}
GIB = 2**30


def config(**changes):
  config = jrt_360m.get_config()
  config.model.implementation = 'mosaic_sm90'
  config.update_from_flattened_dict(changes)
  return config.to_dict()


def largest(memory, compiled_peak=None, **changes):
  found = microbatches.largest(
      config(**changes), MESH, memory, compiled_peak=compiled_peak
  )
  assert [x['remat'] for x in found] == [*training_memory.REMAT]
  return {x['remat']: x for x in found}


def needed(**changes):
  """Bytes of a step of a config."""
  return microbatches.peak_bytes(config(**changes), MESH)


def test_the_largest_microbatch_that_fits_is_chosen():
  memory = needed(microbatch_per_device=16) / microbatches.SHARE
  enough, too_little = largest(memory + 1000), largest(memory - 1000)
  assert enough['none']['microbatch'] == 16
  assert enough['none']['accumulation'] == 2
  assert enough['none']['bytes'] == needed(microbatch_per_device=16)
  assert too_little['none']['microbatch'] == 8


def test_what_recomputes_fits_more():
  found = largest(40 * GIB)
  none, dots, full = (found[x]['microbatch'] for x in training_memory.REMAT)
  assert none < dots < full == 32


def test_where_one_sequence_is_too_much_it_is_said_what_it_would_take():
  found = largest(4 * GIB)
  for remat, x in found.items():
    assert x['microbatch'] is x['accumulation'] is None
    one = {'microbatch_per_device': 1, 'model.remat': remat}
    assert x['bytes'] == needed(**one)


def test_the_compiler_corrects_the_estimate_of_what_it_has_compiled():
  estimated = needed(microbatch_per_device=8)
  memory = needed(microbatch_per_device=16) / microbatches.SHARE + 1000
  settings = {'microbatch_per_device': 8}
  same = largest(memory, compiled_peak=estimated, **settings)
  more = largest(memory, compiled_peak=estimated + 10**9, **settings)
  assert same['none']['microbatch'] == 16 > more['none']['microbatch']
  assert more['full'] == same['full']
  assert more['none']['bytes'] == pytest.approx(estimated + 10**9)


def test_where_it_could_keep_more_the_compiler_corrects_nothing():
  settings = {'model.remat': 'full'}
  peak = 3 * needed(**settings)
  assert largest(80 * GIB, peak, **settings) == largest(80 * GIB, **settings)
