"""On eight devices models write what they write on one."""

import jax
import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax import models
from jrt_jax.evaluation import window_losses
from jrt_jax.evaluation import scoring
from jrt_jax.models import decode
from jrt_jax.models.sampling import Sampling
from jrt_jax.training import workdirs

pytestmark = pytest.mark.skipif(
    jax.device_count() < 8, reason='needs eight (virtual) devices'
)

PROMPTS = 'a', 'prompt longer than the prefix', 'short', 'x', 'five'
SETTINGS = generation.GenerationSettings(
    Sampling(temperature=0.8, repetition_penalty=1.1), max_tokens=24
)


@pytest.fixture(scope='module')
def load(tmp_path_factory):
  """A function from devices to a model, trained with two sharing its heads.

  It also takes how `pla` layers read the prefix.
  """
  config = base.get_config()
  config.model.update(
      mixers=('pla', 'attention'),
      width=16,
      num_heads=2,
      mlp_width=32,
      vocab_size=257,
      vocab_multiple=2,
      dtype='float32',
  )
  config.model.feature_map.feature_dim = 4
  config.sequence_length = 16
  config.data.tokenizer = 'bytes'
  config.mesh.tensor = 2
  folders = {}
  for reader in ('sum', 'ridge'):
    config.model.pla.prefix_reader = reader
    run = config.to_dict()
    _, params = models.split(models.build(run['model']))
    # Without this an untrained model with tied embeddings repeats its input.
    scale = jax.random.normal(jax.random.key(2), (run['model']['width'],))
    params |= {'final_norm.scale': scale}
    folders[reader] = tmp_path_factory.mktemp('run')
    workdirs.write(folders[reader], run, params, origin='a test')
  return lambda count, reader='sum', **how: generation.load(
      folders[reader], devices=jax.devices()[:count], **how
  )


@pytest.fixture(scope='module')
def one(load):
  return load(1)


@pytest.fixture(scope='module')
def eight(load):
  return load(8)


def test_devices_share_rows_and_as_in_training_heads(load, one, eight):
  assert one.mesh is None
  assert dict(eight.mesh.shape) == {
      'data': 4,
      'fsdp': 1,
      'sequence': 1,
      'tensor': 2,
  }
  assert load(3).mesh.shape['tensor'] == 1  # where heads cannot be shared
  kernel = eight.served['layers.0.mixer.proj_v.kernel']
  assert kernel.sharding.shard_shape(kernel.shape) == (
      len(kernel),
      kernel.shape[1] // 2,
  )


def test_devices_share_the_positions_of_prompts_if_asked(load, one):
  model = load(8, mesh_sequence=2)
  assert dict(model.mesh.shape) == {
      'data': 2,
      'fsdp': 1,
      'sequence': 2,
      'tensor': 2,
  }
  assert model.block == 2 * one.block


@pytest.mark.slow
@pytest.mark.parametrize('reader', ['sum', 'ridge'])
def test_documents_do_not_depend_on_devices(load, reader):
  states = []
  for model in (load(1, reader), load(8, reader)):
    memory = generation.DocumentMemory(model)
    memory.read({prompt: prompt for prompt in PROMPTS})
    memory.remove('a')
    states.append(jax.device_get(memory.decode_state()))

  def check(a, b):
    size = max(1, np.abs(b).max(initial=0))
    np.testing.assert_allclose(a, b, atol=1e-5 * size)

  jax.tree.map(check, *states)


def test_texts_do_not_depend_on_devices(one, eight):
  expected, found = (
      generation.generate(model, PROMPTS, SETTINGS) for model in (one, eight)
  )
  assert [x.text for x in found] == [x.text for x in expected]


def test_each_device_keeps_the_states_of_its_rows_and_heads(eight):
  decode.decode.clear_cache()  # of other tests
  continuation = generation.Continuation(eight, PROMPTS, SETTINGS)
  continuation.advance()
  continuation.advance()
  assert decode.decode._cache_size() == 1
  states = continuation._state.states  # of 8 rows
  pla, attention = states[0].kv, states[1].k
  _, H, F, V = pla.shape
  assert pla.sharding.shard_shape(pla.shape) == (2, H // 2, F, V)
  B, S, H, D = attention.shape
  assert attention.sharding.shard_shape((B, S, H, D)) == (2, S, H // 2, D)


def test_a_conversation_goes_on_after_a_turn(one, eight):
  settings = generation.GenerationSettings(
      max_tokens=4
  )  # all that the loop draws at once
  answers = []
  for model in (one, eight):
    talk = generation.Conversation(model, settings)
    for text in ('hello', 'and you?'):
      turn = talk.say(text)
      turn.finish()
    answers.append(turn.completions[0].text)
  assert answers[0] == answers[1]


@pytest.mark.slow
def test_a_conversation_can_be_taken_to_other_devices(one, eight):
  first = generation.Conversation(one, SETTINGS)
  first.say('hello').finish()
  answers = []
  for model in (one, eight):
    second = generation.Conversation(model, SETTINGS, after=first.decode_state)
    answer = second.say('and you?')
    answer.finish()
    answers.append(answer.completions[0].text)
  assert answers[0] == answers[1]


def test_scores_do_not_depend_on_devices(one, eight):
  pairs = [(one.encode(x), one.encode('what follows')) for x in PROMPTS]
  expected, found = (
      [x.log_likelihood for x in scoring.score(model, pairs)]
      for model in (one, eight)
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_perplexity_takes_batches_that_do_not_divide(one, eight):
  windows = np.arange(5 * 17).reshape(5, 17) % 257
  expected, found = (
      window_losses.losses(model, windows, batch_size=3)
      for model in (one, eight)
  )
  for part in expected:
    np.testing.assert_allclose(
        found[part].nll, expected[part].nll, rtol=1e-4, atol=1e-5
    )
