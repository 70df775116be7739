"""What a position may know, for each mixer alone and for a whole model."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.cost.mixers import MIXERS

ROW, PREFIX = 12, 4  # tokens of a row, and of its prefix
B, L, CAPACITY = 8, 15, 9  # of a batch, whose rows are padded
STATE_CAPACITY = ROW + B  # tokens that the longest row has after B steps
VOCAB = 20

CAUSAL = lambda i, j, M: j <= i
PREFIX_OR_CAUSAL = lambda i, j, M: (j <= i) | (j < M)

# The mixers of a model, whether position i sees token j after M of prefix, and
# other settings.
MODELS = {
    name: ((name,), PREFIX_OR_CAUSAL if facts.reads_prefix else CAUSAL)
    for name, facts in MIXERS.items()
}
MODELS |= {  # these do not see everything
    'conv': (('conv',), lambda i, j, M: (j <= i) & (i - j < 3)),
    'swa': (('swa',), lambda i, j, M: (j <= i) & (i - j < 5)),
    'sinks': (
        ('swa',),
        lambda i, j, M: (j <= i) & ((i - j < 5) | (j < 2)),
        {'sinks': 2},
    ),
    'ridge': (
        ('pla',),
        PREFIX_OR_CAUSAL,
        {'pla': {'prefix_reader': 'ridge'}},
    ),
    'contracted': (
        ('pla',),
        PREFIX_OR_CAUSAL,
        {'pla': {'prefix_reader': 'contracted'}},
    ),
    'no_mlp': (('mamba2', 'pla'), PREFIX_OR_CAUSAL, {'mlp_width': 0}),
    'prefix half alone': (
        ('pla',),
        PREFIX_OR_CAUSAL,
        {'pla': {'causal_in_prefix': False}},
    ),
    'all': (tuple(MIXERS), PREFIX_OR_CAUSAL),
}


class Model(NamedTuple):
  """A model with compiled methods; they compile once for each shape."""

  merge: callable
  params: dict
  sees: callable

  def read(self, tokens, capacity, **context):
    """Returns hidden [B, L, E], and what prefill returns."""
    return _read(self.merge, capacity, self.params, tokens, context)

  def read_batch(self, *args, **kwargs):
    """As `read`, of what `make_batch` makes; hidden is cut to the tokens."""
    batch = make_batch(*args, **kwargs)
    hidden, *prefilled = self.read(capacity=CAPACITY, **batch)
    return [h[m] for h, m in zip(hidden, batch['mask'])], *prefilled

  def decode(self, tokens, state):
    """Returns the logits [L, B, V] after each of the tokens [L, B]."""
    return _decode(self.merge, self.params, tokens, state)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _read(merge, capacity, params, tokens, context):
  model = merge(params)
  context = {'prefix_capacity': capacity, **context}
  hidden = model.hidden(tokens, **context)
  return hidden, *model.prefill(
      tokens, **context, state_capacity=STATE_CAPACITY
  )


@functools.partial(jax.jit, static_argnums=0)
def _decode(merge, params, tokens, state):
  model = merge(params)

  def step(state, token):
    logits, state = model.decode_step(token, state)
    return state, logits

  return jax.lax.scan(step, state, tokens)[1]


def make_batch(rows, *, prefix_len, lefts=(0,) * B, segments=(), junk=0):
  """Puts rows of tokens into a batch [B, L], row b behind lefts[b] of padding.

  Padding is random ids. Prefixes are counted from the first token here.
  """
  tokens = np.random.default_rng(junk).integers(VOCAB, size=(B, L))
  mask, segment_ids = np.zeros((B, L), bool), np.zeros((B, L), np.int32)
  for b, row in enumerate(rows):
    place = slice(lefts[b], lefts[b] + len(row))
    tokens[b, place] = row
    mask[b, place] = True
    segment_ids[b, place] = segments[b] if segments else 0
  starts = np.pad(lefts, (0, B - len(lefts)))
  prefix_len = np.pad(prefix_len, (0, B - len(prefix_len)))
  return {
      'tokens': tokens.astype(np.int32),
      'mask': mask,
      'segment_ids': segment_ids,
      'prefix_len': (starts + prefix_len).astype(np.int32),
  }


# What all mixers together do right, each of them does.
@pytest.fixture(
    scope='module',
    params=[
        pytest.param(name, marks=() if name == 'all' else pytest.mark.slow)
        for name in MODELS
    ],
)
def model(request, tiny_config):
  mixers, sees, *settings = MODELS[request.param]
  config = tiny_config(mixers=mixers, vocab_size=VOCAB, **dict(*settings))
  return Model(*models.split(models.build(config)), sees)


@pytest.fixture(scope='module')
def row():
  return np.random.default_rng(9).integers(VOCAB, size=ROW).astype(np.int32)


@pytest.fixture(scope='module')
def alone(model, row):
  """The row by itself, without padding and room for a longer prefix."""
  return model.read(row[None], PREFIX, prefix_len=jnp.array([PREFIX]))


def assert_close(actual, expected):
  def check(a, b):  # relative to the largest value, as in products
    size = max(1, np.abs(b).max(initial=0))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * size)

  jax.tree.map(check, actual, expected)


def take(tree, b):
  return jax.tree.map(lambda x: x[b], tree)


@pytest.mark.parametrize('model', MODELS, indirect=True)
def test_a_position_sees_exactly_the_tokens_that_it_should(model):
  tokens = jnp.arange(ROW)[None]  # each id once: its embedding is its token
  table = model.params['embedding.embedding']
  direction = jax.random.normal(jax.random.key(0), table.shape[1:])

  @jax.jit
  @jax.jacrev
  def jacobian(table, prefix_len):
    params = model.params | {'embedding.embedding': table}
    hidden = model.merge(params).hidden(
        tokens, prefix_len=prefix_len, prefix_capacity=CAPACITY
    )
    return hidden[0] @ direction

  i, j = np.indices((ROW, ROW))
  for M in (0, 1, PREFIX, CAPACITY):
    effect = np.abs(jacobian(table, jnp.array([M]))).max(-1)[:, :ROW]
    np.testing.assert_array_equal(effect > 0, model.sees(i, j, M))


def test_a_padded_row_equals_the_row_alone(model, row, alone):
  lefts = (0, 1, 3)
  hidden, logits, state = model.read_batch(
      [row] * 3, lefts=lefts, prefix_len=[PREFIX] * 3
  )
  for b in range(3):
    assert_close((hidden[b], *take((logits, state), b)), take(alone, 0))


def test_what_stands_at_padding_does_not_matter(model, row):
  hidden = [
      model.read_batch(
          [row] * 3, lefts=(0, 1, 3), prefix_len=[PREFIX] * 3, junk=junk
      )[0][:3]
      for junk in (0, 1)
  ]
  np.testing.assert_array_equal(*hidden)


def test_rows_of_a_batch_do_not_see_each_other(model, row):
  hidden = [
      model.read_batch(rows, prefix_len=prefix_len)[0][1]
      for rows, prefix_len in [
          ([row[::-1], row, row[:5]], [CAPACITY, PREFIX, 0]),
          ([row[2:], row, row], [0, PREFIX, CAPACITY]),
      ]
  ]
  np.testing.assert_array_equal(*hidden)


def test_a_prefix_of_length_0_is_no_prefix(model, row):
  without = model.read(row[None], None)
  hidden, logits, state = model.read_batch(
      [row] * 2, lefts=(0, 3), prefix_len=[0, 0]
  )
  for b in range(2):
    assert_close((hidden[b], *take((logits, state), b)), take(without, 0))


def test_a_row_without_tokens_has_read_nothing(model, row):
  _, _, states = model.read_batch([row, row[:0]], prefix_len=[PREFIX] * 2)
  nothing = model.merge(model.params).initial_states(
      B, state_capacity=STATE_CAPACITY
  )
  jax.tree.map(np.testing.assert_array_equal, take(states, 1), take(nothing, 1))


@pytest.mark.parametrize('ids', [(0, 1, 2), (7, 2, 7)])  # changes matter, only
def test_packed_documents_equal_separate_ones(model, row, ids):
  lengths = (7, 1, 4)
  documents = np.split(row, np.cumsum(lengths)[:-1])
  hidden, *separate = model.read_batch(documents, prefix_len=[PREFIX, 0, 0])
  packed_hidden, *packed = model.read_batch(
      [row] * 2,
      lefts=(0, 2),
      segments=[np.repeat(ids, lengths)] * 2,
      prefix_len=[PREFIX] * 2,
  )
  for b in range(2):
    assert_close(packed_hidden[b], np.concatenate(hidden[:3]))
    assert_close(take(packed, b), take(separate, 2))  # of the last document


def test_packed_documents_with_a_prefix_each_equal_separate_ones(
    request, model, row
):
  if request.node.callspec.params['model'] in (
      'ridge',
      'contracted',
      'prefix half alone',
  ):
    pytest.skip('it reads one prefix in a row')
  lengths, prefix_len, lefts = (7, 1, 4), (PREFIX, 1, 2), (0, 2)
  documents = np.split(row, np.cumsum(lengths)[:-1])
  hidden, *separate = model.read_batch(documents, prefix_len=prefix_len)
  batch = make_batch(
      [row] * 2,
      lefts=lefts,
      segments=[np.repeat(range(3), lengths)] * 2,
      prefix_len=[],
  )
  del batch['prefix_len']
  batch['prefix_mask'] = np.zeros((B, L), bool)
  is_prefix = [np.arange(n) < M for n, M in zip(lengths, prefix_len)]
  for b, left in enumerate(lefts):
    batch['prefix_mask'][b, left : left + ROW] = np.concatenate(is_prefix)
  packed_hidden, *packed = model.read(capacity=L, **batch)
  for b in range(2):
    actual = packed_hidden[b][batch['mask'][b]], take(packed, b)
    expected = np.concatenate(hidden[:3]), take(separate, 2)
    assert_close(actual, expected)


def test_prefill_and_decoding_equal_the_parallel_form_at_every_split(
    model, row, alone
):
  splits = np.arange(PREFIX, ROW)  # tokens in the first part of each row
  assert len(splits) == B
  _, logits, state = model.read_batch(
      [row[:split] for split in splits], prefix_len=[PREFIX] * B
  )
  at = splits + np.arange(B)[:, None]  # [steps, B], which token a step reads
  decoded = model.decode(row[np.minimum(at, ROW - 1)], state)

  expected = model.merge(model.params).logits(alone[0][0])
  assert_close(logits, expected[splits - 1])
  assert_close(decoded[at < ROW], expected[at[at < ROW]])


@pytest.mark.slow
def test_a_row_that_is_read_in_parts_equals_the_row_at_every_split(
    model, row, alone
):
  splits = np.arange(PREFIX, ROW)
  *_, state = model.read_batch(
      [row[:split] for split in splits],
      lefts=(0, 1, 3, 2, 0, 1, 0, 3),
      prefix_len=[PREFIX] * B,
  )
  rest = make_batch([row[split:] for split in splits], prefix_len=[0] * B)

  @jax.jit
  def read(params, tokens, mask, states):
    return model.merge(params).prefill(tokens, mask=mask, states=states)

  logits, state = read(model.params, rest['tokens'], rest['mask'], state)
  logits_alone, state_alone = take(alone[1:], 0)
  for b in range(B):
    assert_close(logits[b], logits_alone)
    assert_close(take(state, b), state_alone)
  nothing = np.zeros_like(rest['mask'])
  _, same = read(model.params, rest['tokens'], nothing, state)
  jax.tree.map(np.testing.assert_array_equal, same, state)


@pytest.mark.slow
def test_a_prefix_that_is_read_layer_by_layer_equals_one_that_is_not(
    model, row
):
  lengths = ROW - np.arange(B)
  batch = make_batch([row[:n] for n in lengths], prefix_len=lengths)
  tokens, mask = batch['tokens'], batch['mask']

  @jax.jit
  def read(params):
    language_model = model.merge(params)
    capacity = {'state_capacity': STATE_CAPACITY}
    return (
        language_model.prefill_all(tokens, mask=mask, block=4, **capacity),
        language_model.prefill(
            tokens, mask=mask, prefix_len=batch['prefix_len'], **capacity
        ),
    )

  assert_close(*read(model.params))


def test_a_decode_state_is_as_large_after_any_prompt(model):
  merged = model.merge(model.params)

  def states(length):
    tokens = jnp.zeros((1, length), jnp.int32)
    prefill = functools.partial(merged.prefill, state_capacity=300)
    state = jax.eval_shape(prefill, tokens)[1]
    return [state, jax.eval_shape(merged.decode_step, tokens[:, 0], state)[1]]

  first, *others = states(1) + states(2) + states(300)
  assert all(state == first for state in others)
