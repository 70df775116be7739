"""Devices divide the positions of prompts, and keep what one device keeps."""

import functools

import jax
import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax import models
from jrt_jax.data import tokenizers
from jrt_jax.generation import activations
from jrt_jax.generation import prefill
from jrt_jax.generation import prompt_segments
from jrt_jax.generation.prompt_segments import Segment
from jrt_jax.runtime import sharding

pytestmark = pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)

PART = 16  # positions that a device reads at once, and the prefix of training
# Mixers, and other settings.
MODELS = {
    'jrt': (('conv', 'pla', 'swa'), {}),
    'la': (('la',), {}),
    'attention': (('attention', 'pla'), {}),
    'ridge': (('pla',), {'pla.prefix_reader': 'ridge'}),
    'prefix half alone': (('pla',), {'pla.causal_in_prefix': False}),
    'gdn': (('gdn',), {}),
    'mamba2': (('mamba2',), {}),
    'prefix_gdn': (('prefix_gdn',), {'gdn.prefix_passes': 'both'}),
    'prefix_mamba2': (('prefix_mamba2',), {}),
    'window of the part of a device': (('swa',), {'window': PART + 1}),
}
MESHES = {
    'one': None,
    'four': {'sequence': 4},
    'eight': {'sequence': 8},
    'rows, positions and heads': {'data': 2, 'sequence': 2, 'tensor': 2},
}
TEXT = np.random.default_rng(0).integers(256, size=400).astype(np.int32)


def make_config(mixers, part, **settings):
  config = base.get_config()
  config.sequence_length = part
  config.prefix.name = 'full'
  config.data.tokenizer = 'bytes'
  config.model.update(
      mixers=mixers,
      width=16,
      num_heads=2,
      mlp_width=0,
      vocab_size=257,
      vocab_multiple=2,
      window=6,
      init_std=0.2,
      dtype='float32',
  )
  config.model.feature_map.feature_dim = 4
  config.model.gdn.update(num_heads=2, key_dim=3, value_dim=4)
  config.model.mamba2.update(num_heads=2, head_dim=3, state_dim=3)
  config.model.update_from_flattened_dict(settings)
  return config.to_dict()


@functools.cache
def make_model(name, mesh='one', part=PART):
  mixers, settings = MODELS[name]
  config = make_config(mixers, part, **settings)
  _, params = models.split(models.build(config['model']))
  # Without this an untrained model with tied embeddings repeats its input.
  params |= {'final_norm.scale': jax.random.normal(jax.random.key(2), (16,))}
  shape = MESHES[mesh]
  return generation.Model(
      config,
      params,
      tokenizers.load('bytes'),
      mesh=shape and sharding.make_mesh(shape),
  )


def make_rows(model, long):
  """Prompts that the blocks of all devices, or devices, do not divide evenly."""
  prompts = [TEXT[i : i + n] for i, n in enumerate((150, 70, 5))]
  rows = [prompt_segments.of_prompt(model, x, long=long) for x in prompts]
  return [*rows, [Segment(TEXT[:133], False)]]  # without a prefix


def assert_same(actual, expected):
  def check(a, b):
    size = max(1, np.abs(b).max(initial=0))
    np.testing.assert_allclose(a, b, atol=1e-5 * size, rtol=0)

  jax.tree.map(check, *jax.device_get((actual, expected)))


def read(model, long):
  rows = make_rows(model, long)
  return prefill.prefill(model, rows, tell=lambda line: None)


# A prefix of one block, or one that is read layer by layer.
@pytest.mark.parametrize('long', ['head', 'all'])
@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if name == 'jrt' else pytest.mark.slow)
        for name in MODELS
    ],
)
def test_states_are_those_of_one_device(name, long):
  four = make_model(name, 'four')
  assert four.block == 4 * PART
  assert_same(read(four, long), read(make_model(name), long))


@pytest.mark.slow
def test_devices_may_also_divide_rows_and_heads():
  model = make_model('jrt', 'rows, positions and heads')
  assert_same(read(model, 'head'), read(make_model('jrt'), 'head'))


@pytest.mark.slow
def test_activations_are_those_of_one_device():
  actual, expected = (
      activations.of_layer(model, make_rows(model, 'head'), layer=2)
      for model in (make_model('jrt', 'four'), make_model('jrt'))
  )
  assert_same(actual, expected)


@pytest.mark.slow
def test_documents_are_those_of_one_device():
  states = []
  for model in (make_model('ridge', 'four'), make_model('ridge')):
    memory = generation.DocumentMemory(model)
    memory.read({'a': TEXT[:150], 'b': TEXT[150:160]})
    states.append(memory.decode_state())
  assert_same(*states)


def continued(model, tokens, long):
  """The ids of the likeliest continuation."""
  settings = generation.GenerationSettings(
      generation.Sampling(temperature=0), max_tokens=12, long_prompt=long
  )
  (found,) = generation.generate(model, [tokens], settings)
  assert len(found.tokens) == 12
  return [*found.tokens]


def test_a_long_prompt_is_continued_as_on_one_device():
  four, one = (
      continued(make_model('jrt', mesh), TEXT, 'head')
      for mesh in ('four', 'one')
  )
  assert four == one


@pytest.mark.slow
@pytest.mark.parametrize('long', ['head', 'all'])
def test_a_million_tokens_are_continued_as_on_one_device(long):
  text = np.random.default_rng(1).integers(256, size=1_000_000)
  eight, one = (
      continued(make_model('jrt', mesh, part=1024), text, long)
      for mesh in ('eight', 'one')
  )
  assert eight == one


def test_eight_devices_need_an_eighth_of_the_memory_for_a_long_prefix():
  memory = []
  for mesh in ('one', 'eight'):
    model = make_model('jrt', mesh)
    shape = 1, 2**16
    ids, mask = np.zeros(shape, np.int32), np.ones(shape, bool)
    with model.on_mesh():
      program = prefill._prefill_all.lower(
          model.merge, model.served, ids, mask, model.block, None
      ).compile()
    memory.append(program.memory_analysis().temp_size_in_bytes)
  # Each device also has all ids, which take a part of so narrow a model.
  assert memory[1] == pytest.approx(memory[0] / 8, rel=0.2)
