"""One token of the paper's model, compiled for a virtual H100."""

import re

import jax
import jax.numpy as jnp
import pytest

from configs import jrt_360m
from jrt_jax import models
from pallas_kernels import virtual_gpus

pytestmark = [pytest.mark.aot, pytest.mark.timeout(900)]

B = 512  # so many that states take more memory than weights


def test_states_are_updated_where_they_are():
  config = jrt_360m.get_config()
  config.model.mixers = 'conv', 'pla', 'swa'
  merge, params = models.abstract(config.model.to_dict())
  tokens = jax.ShapeDtypeStruct((B,), jnp.int32)
  prefill = lambda params: merge(params).prefill(jnp.zeros((B, 1), jnp.int32))
  _, states = jax.eval_shape(prefill, params)
  step = jax.jit(
      lambda params, tokens, states: merge(params).decode_step(tokens, states),
      donate_argnums=2,
  )
  compiled = virtual_gpus.compile_for(
      'H100', step, params, tokens, states
  ).compiled
  leaves = jax.tree.leaves(states)
  sizes = [x.size * x.dtype.itemsize for x in leaves]
  memory = compiled.memory_analysis()
  assert memory.alias_size_in_bytes >= sum(sizes)
  assert memory.temp_size_in_bytes < max(sizes)
  copied = re.findall(r' = \w+\[([\d,]+)\]\S* copy\(', compiled.as_text())
  copied = {tuple(sorted(map(int, shape.split(',')))) for shape in copied}
  assert not copied & {tuple(sorted(x.shape)) for x in leaves if x.ndim > 1}
