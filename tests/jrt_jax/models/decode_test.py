import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.models.decode import continue_prompts
from jrt_jax.models.decode import decode
from jrt_jax.models.decode import MAX_TOKENS
from jrt_jax.models.decode import SamplerState
from jrt_jax.models.decode import StopRule
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


@pytest.fixture(scope='module')
def small(tiny_config):
  config = tiny_config(mixers=('conv',), vocab_size=VOCAB)
  return models.split(models.build(config))


@pytest.fixture
def draw(small):
  """A function that goes on drawing, from the start or from what it returned.

  It returns the `DecodedTokens`, and what is given to it for the next tokens.
  """
  merge, params = small
  settings = Sampling(temperature=1.0, repetition_penalty=1.2)

  def draw(
      start=None, *, tokens=MAX_TOKENS, least=0, rows=(True, True), ids=()
  ):
    if start is None:
      prefill = jax.jit(lambda params: merge(params).prefill(PROMPTS))
      keys = jax.random.split(jax.random.key(0), B)
      seen = jnp.zeros((B, NUM_IDS), bool)
      start = *prefill(params), SamplerState(keys, jnp.int32(0), seen)
    until = StopRule(
        np.int32(tokens),
        np.int32(least),
        np.array(rows),
        np.isin(np.arange(NUM_IDS), ids),
    )
    drawn, *end = decode(
        merge,
        params,
        *start,
        until,
        num_ids=NUM_IDS,
        sampling=settings,
        check_every=2,
    )
    return drawn, end

  return draw


def test_draws_do_not_depend_on_how_many_are_drawn_at_once(draw):
  at_once, end = draw(tokens=8)
  first, middle = draw(tokens=3)  # rounded up
  second, same_end = draw(middle, tokens=4)
  assert (at_once.count, first.count, second.count) == (8, 4, 4)
  both = np.concatenate([first.tokens[:, :4], second.tokens[:, :4]], axis=1)
  np.testing.assert_array_equal(at_once.tokens[:, :8], both)
  assert end[2].count == same_end[2].count == 8
  for b in range(B):
    seen = set(np.flatnonzero(end[2].seen[b]))
    assert seen == set(both[b].tolist())


def test_the_loop_ends_when_every_row_may_have_ended(draw):
  tokens = np.asarray(draw(tokens=40)[0].tokens[:, :40])
  some = tokens[0, 3], tokens[1, 9]
  first = [np.isin(row, some).argmax() for row in tokens]
  for rows in ((True, True), (True, False), (False, True)):
    latest = max(at for at, waited in zip(first, rows) if waited)
    drawn, _ = draw(rows=rows, ids=some)
    assert drawn.count == latest // 2 * 2 + 2  # it looks after every other
    np.testing.assert_array_equal(
        drawn.tokens[:, : drawn.count], tokens[:, : drawn.count]
    )
  assert draw(rows=(False, False))[0].count == 0
  assert draw(ids=())[0].count == MAX_TOKENS
  assert draw(least=30, ids=some)[0].count == 30


def test_states_are_updated_where_they_are(draw):
  _, start = draw(tokens=2)
  draw(start, tokens=2)
  assert all(x.is_deleted() for x in jax.tree.leaves(start))


def test_tokens_of_damaged_states_are_told(draw):
  _, (logits, states, sampler) = draw(tokens=2)
  logits = logits.at[1, 0].set(jnp.nan)
  drawn, _ = draw((logits, states, sampler), tokens=4)
  assert drawn.finite.tolist() == [4, 0]  # though states are sound after it
