import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.models.decode import continue_prompts
from jrt_jax.models.decode import decode
from jrt_jax.models.decode import Draws
from jrt_jax.models.sampling import Sampling

B, L, NUM_TOKENS, VOCAB, NUM_IDS = 2, 7, 6, 20, 18
PROMPTS = np.random.default_rng(0).integers(NUM_IDS, size=(B, L))
PREFIX_LEN = np.array([L, 3], np.int32)


@pytest.fixture(scope='module')
def model(tiny_config):
  """A function from parameters to a model, and parameters."""
  config = tiny_config(mixers=('pla', 'swa'), vocab_size=VOCAB)
  merge, params = models.split(models.build(config))
  # Without this an untrained model with tied embeddings repeats its input.
  scale = jax.random.normal(jax.random.key(2), (config['width'],))
  return merge, params | {'final_norm.scale': scale}


@pytest.fixture(scope='module')
def continued(model):
  """A function from a seed and a temperature to tokens [B, NUM_TOKENS]."""

  def run(seed=0, temperature=0.0, params=model[1], num_ids=NUM_IDS):
    return continue_prompts(
        model[0],
        params,
        jnp.asarray(PROMPTS, jnp.int32),
        jnp.asarray(PREFIX_LEN),
        jax.random.key(seed),
        num_tokens=NUM_TOKENS,
        num_ids=num_ids,
        sampling=Sampling(temperature=temperature),
    )

  return run


def test_greedy_tokens_are_those_of_the_parallel_form(model, continued):
  merge, params = model
  tokens = continued()
  assert tokens.shape == (B, NUM_TOKENS)

  @jax.jit
  def likeliest(tokens):  # the prefix stays that of the prompt
    logits = merge(params)(tokens, prefix_len=PREFIX_LEN, prefix_capacity=L)
    return logits[:, L - 1 : -1, :NUM_IDS].argmax(-1)

  whole = np.concatenate([PROMPTS, tokens], axis=1).astype(np.int32)
  np.testing.assert_array_equal(tokens, likeliest(whole))
  assert len(np.unique(tokens)) > 2


def test_tokens_are_reproduced_by_their_key(continued):
  first, again, other = (continued(seed, 1.0) for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_each_step_has_a_key_of_its_own(model, continued):
  zeros = jax.tree.map(jnp.zeros_like, model[1])  # every id is as likely
  tokens = continued(0, 1.0, params=zeros)
  assert len(np.unique(tokens)) > 4


def test_ids_that_the_tokenizer_lacks_are_never_generated(model, continued):
  table = model[1]['embedding.embedding']
  table = table.at[NUM_IDS:VOCAB].set(jnp.array([[1e3], [-1e3]]))  # one wins
  params = model[1] | {'embedding.embedding': table}
  assert (continued(0, 1.0, params) < NUM_IDS).all()
  assert (continued(0, 1.0, params, VOCAB) >= NUM_IDS).any()


def test_draws_do_not_depend_on_how_many_are_drawn_at_once(tiny_config):
  config = tiny_config(mixers=('conv',), vocab_size=VOCAB)
  merge, params = models.split(models.build(config))
  logits, states = jax.jit(
      lambda params: merge(params).prefill(PROMPTS, state_capacity=30)
  )(params)
  keys = jax.random.split(jax.random.key(0), B)
  draws = Draws(keys, jnp.int32(0), jnp.zeros((B, NUM_IDS), bool))
  settings = Sampling(temperature=1.0, repetition_penalty=1.2)

  def draw(num_tokens, *start):
    return decode(
        merge,
        params,
        *start,
        num_tokens=num_tokens,
        num_ids=NUM_IDS,
        sampling=settings,
    )

  at_once, *end = draw(6, logits, states, draws)
  first, *middle = draw(3, logits, states, draws)
  second, *same_end = draw(3, *middle)
  np.testing.assert_array_equal(at_once, np.concatenate([first, second], 1))
  assert end[2].count == same_end[2].count == 6
  for b in range(B):
    assert set(np.flatnonzero(end[2].seen[b])) == set(at_once[b].tolist())
