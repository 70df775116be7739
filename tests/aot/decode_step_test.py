"""The decode loop of the paper's model, compiled for a virtual H100."""

import re

import jax
import jax.numpy as jnp
import pytest

from configs import jrt_360m
from jrt_jax import models
from jrt_jax.generation.model import as_served
from jrt_jax.models import decode
from jrt_jax.models import sampling
from pallas_kernels import virtual_gpus

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]

B = 512  # so many that states take more memory than weights


@pytest.fixture(scope='module')
def loop():
  """What is given to the loop, as shapes, and the loop, compiled."""
  config = jrt_360m.get_config()
  config.model.mixers = 'conv', 'pla', 'swa'
  config = config.model.to_dict()
  merge, params = models.abstract(config)
  params = jax.eval_shape(lambda params: as_served(config, params), params)
  num_ids = config['mask_id']

  def start(params):
    logits, states = merge(params).prefill(jnp.zeros((B, 1), jnp.int32))
    keys = jax.vmap(jax.random.key)(jnp.arange(B))
    sampler = decode.SamplerState(keys, jnp.int32(0), seen=None)
    until = decode.StopRule(
        jnp.int32(0), jnp.int32(0), jnp.ones(B, bool), jnp.ones(num_ids, bool)
    )
    return logits, states, sampler, until

  def loop(params, *start):
    return decode.decode.__wrapped__(
        merge, params, *start, num_ids=num_ids, sampling=sampling.FOR_TEXT
    )

  shapes = params, *jax.eval_shape(start, params)
  jitted = jax.jit(loop, donate_argnums=(1, 2, 3))
  return shapes, virtual_gpus.compile_for('H100', jitted, *shapes)


def results(compiled, kind):
  """The shapes of what operations of a kind result in, sorted."""
  found = re.findall(rf' = \w+\[([\d,]+)\]\S* {kind}\(', compiled.as_text())
  return {sorted_shape(map(int, shape.split(','))) for shape in found}


def sorted_shape(shape):
  """Layouts may reorder the axes."""
  return tuple(sorted(shape))


def test_states_are_updated_where_they_are(loop):
  (_, logits, states, *_), compiled = loop
  leaves = [logits, *jax.tree.leaves(states)]
  sizes = [x.size * x.dtype.itemsize for x in leaves]
  memory = compiled.memory_analysis()
  assert memory.alias_size_in_bytes >= sum(sizes)
  assert memory.temp_size_in_bytes < max(sizes)
  states = {sorted_shape(x.shape) for x in leaves if x.ndim > 1}
  assert not results(compiled, 'copy') & states


def test_no_weight_is_cast_in_the_loop(loop):
  (params, *_), compiled = loop
  kernels = {sorted_shape(x.shape) for x in params.values() if x.ndim > 1}
  casts = results(compiled, 'convert')
  assert casts and not casts & kernels
