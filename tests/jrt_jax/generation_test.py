"""What has been compiled serves prompts of all lengths, turns and batches."""

import gc
import pathlib

import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax import models
from jrt_jax.data import tokenizers
from jrt_jax.models.sampling import Sampling

LENGTHS = 1, 20, 33, 50  # prefix and what follows in 16 tokens, and in 32
SETTINGS = generation.GenerationSettings(
    Sampling(temperature=0.7), max_tokens=3
)


@pytest.fixture(scope='module')
def served(tiny_config):
  """A model of bytes with a prefix of 32 tokens."""
  config = {
      'model': tiny_config(mixers=('pla', 'attention'), vocab_size=257),
      'prefix': {'name': 'fixed', 'capacity': 0.5},
      'sequence_length': 64,
  }
  params = models.split(models.build(config['model']))[1]
  return generation.Model(config, params, tokenizers.Bytes())


def prompts(rng, lengths):
  return [rng.integers(256, size=n).astype(np.int32) for n in lengths]


def warm_up(model, rng, batches):
  for B in batches:
    for n in LENGTHS:
      generation.generate(model, prompts(rng, [n] * B), SETTINGS)


def talk(model, rng, turns):
  conversation = generation.Conversation(model, SETTINGS)
  for turn in prompts(rng, rng.integers(1, 20, size=turns)):
    for _ in conversation.say(turn):
      pass


def resident_bytes():
  gc.collect()
  pages = pathlib.Path('/proc/self/statm').read_text().split()[1]
  return int(pages) * 4096


def test_other_lengths_and_batches_and_turns_compile_nothing(
    served, compilations
):
  rng = np.random.default_rng(1)
  warm_up(served, rng, batches=(1, 4))
  talk(served, rng, turns=2)
  before = compilations()
  for B in rng.choice([1, 3, 4], size=20):
    lengths = rng.integers(1, 200, size=B)
    generation.generate(served, prompts(rng, lengths), SETTINGS)
  talk(served, rng, turns=8)
  assert compilations() == before


def test_a_model_of_the_same_config_compiles_nothing(served, compilations):
  again = generation.Model(served.config, served.params, served.tokenizer)
  for model in (served, again):
    before = compilations()
    generation.generate(model, [np.arange(5)], SETTINGS)
  assert compilations() == before


@pytest.mark.slow
def test_500_prompts_compile_nothing_and_memory_stays_flat(
    served, compilations
):
  rng = np.random.default_rng(2)
  policies = 'head', 'tail', 'blocks', 'all'

  def soak(count):
    for i in range(count):
      long = policies[i % 4]
      lengths = rng.integers(1, 200, size=1 if long == 'all' else 1 + i % 3)
      settings = generation.GenerationSettings(
          SETTINGS.sampling,
          max_tokens=int(rng.integers(1, 40)),
          long_prompt=long,
      )
      generation.generate(served, prompts(rng, lengths), settings)
      if i % 25 == 0:
        talk(served, rng, turns=4)

  warm_up(served, rng, batches=(1, 2, 4))
  for n in (40, 70, 150):
    settings = generation.GenerationSettings(
        SETTINGS.sampling, long_prompt='all'
    )
    generation.generate(served, prompts(rng, [n]), settings)
  soak(25)
  before, resident = compilations(), resident_bytes()
  soak(500)
  assert compilations() == before
  assert resident_bytes() < 1.05 * resident
