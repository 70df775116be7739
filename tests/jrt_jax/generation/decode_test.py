import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.generation.decode import generate

B, L, NUM_TOKENS, VOCAB, NUM_IDS = 2, 7, 6, 20, 18
PROMPTS = np.random.default_rng(0).integers(NUM_IDS, size=(B, L))
PREFIX_LEN = np.array([L, 3], np.int32)


@pytest.fixture(scope='module')
def model(tiny_config):
  """A function from parameters to a model, and parameters."""
  config = tiny_config(
      mixers=('conv', 'pla', 'swa', 'attention'), vocab_size=VOCAB
  )
  merge, params = models.split(models.build(config))
  # Without this an untrained model with tied embeddings repeats its input.
  scale = jax.random.normal(jax.random.key(2), (config['width'],))
  return merge, params | {'final_norm.scale': scale}


@pytest.fixture(scope='module')
def continue_prompts(model):
  """A function from a seed and a temperature to tokens [B, NUM_TOKENS]."""

  def run(seed=0, temperature=0.0, params=model[1], num_ids=NUM_IDS):
    return generate(
        model[0],
        params,
        jnp.asarray(PROMPTS, jnp.int32),
        jnp.asarray(PREFIX_LEN),
        jax.random.key(seed),
        num_tokens=NUM_TOKENS,
        num_ids=num_ids,
        temperature=temperature,
    )

  return run


def test_greedy_tokens_are_those_of_the_parallel_form(model, continue_prompts):
  merge, params = model
  tokens = continue_prompts()
  assert tokens.shape == (B, NUM_TOKENS)

  @jax.jit
  def likeliest(tokens):  # the prefix stays that of the prompt
    logits = merge(params)(tokens, prefix_len=PREFIX_LEN, prefix_capacity=L)
    return logits[:, L - 1 : -1, :NUM_IDS].argmax(-1)

  whole = np.concatenate([PROMPTS, tokens], axis=1).astype(np.int32)
  np.testing.assert_array_equal(tokens, likeliest(whole))
  assert len(np.unique(tokens)) > 2


def test_tokens_are_reproduced_by_their_key(continue_prompts):
  first, again, other = (continue_prompts(seed, 1.0) for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_each_step_has_a_key_of_its_own(model, continue_prompts):
  zeros = jax.tree.map(jnp.zeros_like, model[1])  # every id is as likely
  tokens = continue_prompts(0, 1.0, params=zeros)
  assert len(np.unique(tokens)) > 4


def test_ids_that_the_tokenizer_lacks_are_never_generated(
    model, continue_prompts
):
  table = model[1]['embedding.embedding']
  table = table.at[NUM_IDS:VOCAB].set(jnp.array([[1e3], [-1e3]]))  # one wins
  params = model[1] | {'embedding.embedding': table}
  assert (continue_prompts(0, 1.0, params) < NUM_IDS).all()
  assert (continue_prompts(0, 1.0, params, VOCAB) >= NUM_IDS).any()
