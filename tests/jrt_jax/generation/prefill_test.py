"""What was read is what the parallel form computes, however it was read."""

import dataclasses
import functools
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from jrt_jax import cost
from jrt_jax.generation import long_prompts
from jrt_jax.generation import prefill
from jrt_jax.generation import prompt_segments
from jrt_jax.generation.prompt_segments import Segment

M, STEPS, TURN = 8, 3, 10  # prefix, decoded tokens, tokens of a turn
LENGTHS = np.arange(1, 25)  # of prompts, which are read at once
TOKENS = np.random.default_rng(0).integers(257, size=40).astype(np.int32)
L = len(TOKENS)
ATTENTION = 3  # the layer

# Whether position i sees the prefix key of position j, after a prompt of n.
SEES = {
    'head': lambda i, j, n: j < min(n, M),
    'tail': lambda i, j, n: (i >= n - M) & (j >= n - M) & (j < n),
    'all': lambda i, j, n: j < n,
    'blocks': lambda i, j, n: (j < n) & ((i >= n) | (j // M <= i // M)),
}


def sees(policy, lengths=LENGTHS):
  i, j = np.indices((L, L))
  return np.stack(
      [SEES[policy](i, j, n) & np.full((L, L), True) for n in lengths]
  )


def prompts(model, policy='head', short='trim', lengths=LENGTHS):
  return [
      prompt_segments.of_prompt(model, TOKENS[:n], short=short, long=policy)
      for n in lengths
  ]


def logits_while_decoding(model, read, lengths):
  """The logits [B, STEPS + 1, V] after what was read and after STEPS tokens."""

  @jax.jit
  def decode(params, tokens, states):
    def step(states, token):
      return model.merge(params).decode_step(token, states)[::-1]

    return jax.lax.scan(step, states, tokens)[1]

  following = TOKENS[lengths + np.arange(STEPS)[:, None]]
  later = decode(model.params, following, read.states)
  return np.concatenate([read.logits[None], later]).swapaxes(0, 1)


def expected_logits(parallel_logits, see, lengths):
  every = parallel_logits(TOKENS, see)
  at = lengths[:, None] - 1 + np.arange(STEPS + 1)
  return np.asarray(every)[np.arange(len(lengths))[:, None], at]


class Called(Exception):
  """The program runs."""


class FakeProgram:
  """Takes 6 KiB; says that it was called."""

  def lower(self, *_):
    return self

  compile = lower

  def memory_analysis(self):
    names = 'argument', 'output', 'alias', 'temp'
    return types.SimpleNamespace(**{f'{n}_size_in_bytes': 2048 for n in names})

  def __call__(self, *_):
    raise Called


def assert_close(actual, expected):
  jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
      actual,
      expected,
  )


@pytest.fixture(scope='module')
def read_as(model):
  """A function that returns what was read of each prompt under a policy."""
  tell = lambda line: None

  @functools.cache
  def read_as(policy):
    rows = prompts(model, policy)
    return prefill.prefill(model, rows, room=STEPS + TURN, tell=tell)

  return read_as


@pytest.fixture(scope='module')
def read(read_as):
  """What was read of each prompt, the first M tokens as prefix."""
  return read_as('head')


def test_every_policy_is_tested():
  assert set(SEES) == set(long_prompts.LONG_PROMPTS)


@pytest.mark.parametrize(
    'policy',
    ['head', 'tail', 'blocks', pytest.param('all', marks=pytest.mark.slow)],
)
def test_prefill_and_decoding_equal_the_parallel_form_at_every_split(
    model, parallel_logits, read_as, policy
):
  result = read_as(policy)
  actual = logits_while_decoding(model, result, LENGTHS)
  expected = expected_logits(parallel_logits, sees(policy), LENGTHS)
  assert_close(actual, expected)
  np.testing.assert_array_equal(result.position, LENGTHS)
  prefix = LENGTHS if policy in ('all', 'blocks') else np.minimum(LENGTHS, M)
  np.testing.assert_array_equal(result.prefix, prefix)


def test_tokens_before_a_prefix_at_the_end_see_what_was_before_them(
    model, read_as
):
  n = LENGTHS[-1] - M
  rows = [[Segment(TOKENS[:n], False)]] * len(LENGTHS)
  causal = prefill.prefill(model, rows, room=STEPS + TURN)
  # What `attention` keeps of a token tells what the token has seen before.
  kept = lambda read: read.states[ATTENTION].k[-1, :n]
  assert_close(kept(read_as('tail')), kept(causal))
  assert np.abs(kept(read_as('head')) - kept(causal)).max() > 1e-3


@pytest.mark.parametrize('turn', ['append_causal', 'turn_blocks'])
def test_turns_equal_the_parallel_form(model, parallel_logits, read, turn):
  rows = [
      prompt_segments.of_turn(model, TOKENS[n : n + TURN], turn)
      for n in LENGTHS
  ]
  after = prefill.prefill(model, rows, after=read, room=STEPS)
  see = sees('head')
  if turn == 'turn_blocks':
    i, j = np.indices((L, L))
    for b, n in enumerate(LENGTHS):
      inside = (j >= n) & (j < n + TURN)
      reached = (i >= n + TURN) | ((j - n) // M <= (i - n) // M)
      see[b] |= inside & (i >= n) & reached
  ends = LENGTHS + TURN
  actual = logits_while_decoding(model, after, ends)
  assert_close(actual, expected_logits(parallel_logits, see, ends))
  np.testing.assert_array_equal(after.position, ends)


def test_what_was_read_before_stays_valid(model, read):
  rows = [[Segment(TOKENS[:TURN], False)]] * len(LENGTHS)
  first, again = (
      prefill.prefill(model, rows, after=read, room=STEPS) for _ in range(2)
  )
  jax.tree.map(np.testing.assert_array_equal, first, again)


def test_a_prompt_is_read_as_with_padding_that_is_masked(model, read):
  lengths = LENGTHS[:M]
  tokens, mask = np.full((M, M), model.pad_id, np.int32), np.zeros((M, M), bool)
  for b, n in enumerate(lengths):
    tokens[b, M - n :], mask[b, M - n :] = TOKENS[:n], True

  @jax.jit
  def prefill(params):
    return model.merge(params).prefill(
        tokens,
        mask=mask,
        prefix_len=np.full(M, M, np.int32),
        state_capacity=read.states[ATTENTION].k.shape[1],
    )

  expected = jax.tree.map(lambda x: x[:M], (read.logits, read.states))
  assert_close(prefill(model.params), expected)


def test_padding_of_released_models_is_seen(model, read):
  padded = prefill.prefill(
      model, prompts(model, short='left_pad_reference'), room=STEPS + TURN
  )
  np.testing.assert_array_equal(padded.position, LENGTHS)
  differs = np.abs(padded.logits - read.logits).max(axis=1) > 1e-3
  np.testing.assert_array_equal(differs, LENGTHS < M)


def test_a_short_prompt_that_is_read_twice_fills_the_prefix(
    model, parallel_logits
):
  rows = prompts(model, short='read_twice', lengths=[3] * len(LENGTHS))
  result = prefill.prefill(model, rows, room=STEPS + TURN)
  again = np.tile(TOKENS[:3], L)[-M % 3 :][:L]
  expected = parallel_logits(again, sees('head'))[M - 1, M - 1]
  assert_close(result.logits[0], expected)
  assert (result.prefix == M).all()


def test_a_row_reads_the_same_alone_and_in_any_batch(model, read):
  row = 4
  rows = prompts(model)[row : row + 1]
  alone = prefill.prefill(model, rows, room=STEPS + TURN)
  assert_close(alone, jax.tree.map(lambda x: x[row : row + 1], read))


def test_caches_of_attention_get_room_as_it_is_needed(model, read):
  slots = lambda read: read.states[ATTENTION].k.shape[1]
  assert slots(read) == 256
  rows = [[Segment(TOKENS[:TURN], False)]] * len(LENGTHS)
  longer = prefill.prefill(model, rows, after=read, room=300)
  assert slots(longer) == 512
  assert_close(
      longer.logits, prefill.prefill(model, rows, after=read, room=STEPS).logits
  )


def test_attention_has_room_for_tokens_if_not_for_padding(make_model):
  model = make_model(('attention',))
  config = {**model.config, 'sequence_length': 1024}
  config['prefix'] = {'name': 'none', 'capacity': 0.5}
  model = dataclasses.replace(model, config=config)
  tokens = np.resize(TOKENS, 600)  # padded to 1024, in 768 slots
  read = prefill.prefill(model, [[Segment(tokens, False)]], room=20)
  assert read.states[0].k.shape[1] == 768
  assert np.isfinite(read.logits).all()


def test_padding_beside_a_full_cache_does_no_harm(make_model):
  model = make_model(('attention', 'pla'))
  tokens = np.resize(TOKENS, 256)
  first = prefill.prefill(model, [[Segment(tokens[:100], False)]])
  read = prefill.prefill(model, [[Segment(tokens[100:], False)]], after=first)
  assert read.states[0].k.shape[1] == read.position[0] == 256
  assert np.isfinite(read.logits).all()


def test_a_long_prefix_says_what_it_takes_before_it_is_read(model, monkeypatch):
  monkeypatch.setattr(prefill, '_prefill_all', FakeProgram())
  lines = []
  with pytest.raises(Called):
    prefill.prefill(model, prompts(model, 'all')[-1:], tell=lines.append)
  assert lines == [
      'a prefix of 24 tokens is read layer by layer: it takes 4 KiB, weights'
      ' included'
  ]


def test_a_long_prefix_must_come_first(model, read):
  rows = [[Segment(TOKENS, True)]] * len(LENGTHS)
  with pytest.raises(ValueError, match='must be read first and alone'):
    prefill.prefill(model, rows, after=read)


@pytest.mark.parametrize('policy', ['head', 'all'])
def test_recurrences_read_prompts_of_any_length_as_one_pass_does(
    make_model, policy
):
  """With prefixes beyond the model's, which come in blocks, in the same batch."""
  model = make_model(('prefix_gdn', 'prefix_mamba2'))
  lengths = np.array([1, 6, M, 13, 24])
  rows = prompts(model, policy, lengths=lengths)
  actual = prefill.prefill(model, rows, tell=lambda line: None)

  @jax.jit
  def one_pass(params):
    return model.merge(params).prefill(
        np.tile(TOKENS[:24], (len(lengths), 1)),
        mask=np.arange(24) < lengths[:, None],
        prefix_len=np.minimum(lengths, M if policy == 'head' else 24),
    )

  assert_close((actual.logits, actual.states), one_pass(model.params))


def test_the_state_has_one_size_at_every_position(make_model):
  model = make_model(('conv', 'pla', 'swa', 'la'))
  H, V, W, K, inner, F = 2, 8, 5, 3, 32, 1 + 4 + 10
  linear = H * F * (V + 1)
  window = 2 * W * H * V + 1  # keys, values and a count
  numbers = (K - 1) * inner + 2 * linear + window
  states = model.merge(model.params).initial_states(3)
  zeros = np.zeros(3, np.int32)
  read = prefill.DecodeState(None, states, zeros, zeros)
  assert prefill.state_bytes(read) == 4 * numbers
  for length in (1, 1000):
    config = model.config['model']
    assert cost.state_bytes(config, length=length) == 4 * numbers


PROGRAM = """
import resource, sys
import jax, numpy as np
from configs import jrt_tiny
from jrt_jax import generation, models
from jrt_jax.data import tokenizers
from jrt_jax.generation import prefill, prompt_segments

config = jrt_tiny.get_config().to_dict()
params = models.split(models.build(config['model']))[1]
model = generation.Model(config, params, tokenizers.Bytes())

def peak_after(policy, length):
  tokens = np.resize(np.arange(256, dtype=np.int32), length)
  row = prompt_segments.of_prompt(model, tokens, long=policy)
  jax.block_until_ready(prefill.prefill(model, [row]))
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

short = peak_after(sys.argv[1], 2048)
print(peak_after(sys.argv[1], 131072) - short)
"""


@pytest.mark.slow
@pytest.mark.parametrize('policy', ['head', 'tail', 'blocks'])
def test_reading_128k_tokens_needs_no_more_memory_than_2k(policy):
  done = subprocess.run(
      [sys.executable, '-c', PROGRAM, policy],
      capture_output=True,
      text=True,
      check=True,
  )
  activations = 131072 * 128 * 4 / 2**20  # of one layer: 64 MiB
  assert float(done.stdout) < activations / 2
