"""A prefix that grows: as if it had been longer from the beginning, or nearly."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import models
from jrt_jax.models import extend_prefix as lib

L, ROOM = 12, 16
TOKENS = np.random.default_rng(0).integers(20, size=(3, L)).astype(np.int32)
POSITION = np.array([12, 9, 6], np.int32)  # tokens that the rows have read
SHORT = np.array([4, 0, 2], np.int32)
LONG = np.array([7, 9, 2], np.int32)
NEXT = np.array([3, 1, 4], np.int32)


class Reader:
  """A model; what it does is compiled for one shape."""

  def __init__(self, config, capacity=None):
    merge, params = models.split(models.build(config))
    self.model = merge(params)
    self.empty = lib.start(self.model, batch=3, state_capacity=ROOM)

    def read(params, stream, tokens, first, end, as_prefix):
      """Reads the tokens from `first` to `end` of each row."""
      at = first[:, None] + np.arange(L)
      return lib.read(
          merge(params),
          stream,
          jnp.take_along_axis(tokens, jnp.minimum(at, L - 1), axis=1),
          mask=at < end[:, None],
          as_prefix=as_prefix,
      )

    def extend(params, stream, tokens, prefix_len, mode):
      model = merge(params)
      return lib.extend_prefix(
          model, stream, tokens, prefix_len, mode=mode, capacity=capacity
      )

    def afresh(params, prefix_len):
      """Logits and states of one pass over all that was read."""
      mask = np.arange(L) < POSITION[:, None]
      return merge(params).prefill(
          TOKENS, prefix_len=prefix_len, mask=mask, state_capacity=ROOM
      )

    def follow(params, states):
      """Logits after one more token."""
      return merge(params).decode_step(NEXT, states)[0]

    def compiled(function, *static):
      return functools.partial(
          jax.jit(function, static_argnames=static), params
      )

    self._read, self._extend = (
        compiled(read, 'as_prefix'),
        compiled(extend, 'mode'),
    )
    self.afresh, self.follow = compiled(afresh), compiled(follow)

  def read(self, stream, first, end, *, as_prefix=False, tokens=TOKENS):
    return self._read(stream, tokens, first, end, as_prefix=as_prefix)

  def extend(self, stream, prefix_len, *, mode, tokens=TOKENS):
    return self._extend(stream, tokens, np.int32(prefix_len), mode=mode)

  def stream(self, prefix_len=SHORT, **tokens):
    zero = np.zeros(3, np.int32)
    stream = self.read(self.empty, zero, prefix_len, as_prefix=True, **tokens)
    return self.read(stream, prefix_len, POSITION, **tokens)


@pytest.fixture(scope='module')
def shallow(tiny_config):
  """One `pla` layer and no mixer after it."""
  return Reader(tiny_config(mixers=('pla',)), capacity=9)


@pytest.fixture(scope='module')
def deep(tiny_config):
  return Reader(tiny_config(mixers=('pla', 'attention')))


def assert_equal_trees(actual, expected, **tolerance):
  for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    np.testing.assert_allclose(x, y, **(tolerance or {'atol': 1e-5}))


def test_a_stream_is_what_one_pass_would_have_read(deep):
  stream = deep.stream()
  logits, states = deep.afresh(SHORT)
  np.testing.assert_allclose(stream.logits, logits, atol=1e-4)
  np.testing.assert_allclose(
      deep.follow(stream.states), deep.follow(states), atol=1e-4
  )
  np.testing.assert_array_equal(stream.position, POSITION)
  np.testing.assert_array_equal(stream.prefix_len, SHORT)


@pytest.mark.parametrize('prefix_len', [LONG, POSITION, [5, 1, 6]])
def test_after_one_layer_frozen_is_exact(shallow, prefix_len):
  prefix_len, stream = np.array(prefix_len, np.int32), shallow.stream()
  frozen = shallow.extend(stream, prefix_len, mode='frozen')
  exact = shallow.stream(prefix_len)  # read so from the beginning
  assert_equal_trees(frozen._replace(logits=exact.logits), exact)
  logits = shallow.follow(frozen.states)
  np.testing.assert_allclose(logits, shallow.follow(exact.states), atol=1e-5)
  before = shallow.follow(stream.states)
  assert abs(logits - before).max() > 1e-2


def test_what_grows_in_steps_and_is_read_on_grows_as_far(shallow):
  zero, read = np.zeros(3, np.int32), np.array([6, 5, 6], np.int32)
  stream = shallow.read(shallow.empty, zero, SHORT, as_prefix=True)
  stream = shallow.read(stream, SHORT, read)
  stream = shallow.extend(stream, np.minimum(LONG, read), mode='frozen')
  stream = shallow.read(stream, read, POSITION)
  stream = shallow.extend(stream, LONG, mode='frozen')
  assert_equal_trees(stream.states, shallow.stream(LONG).states)


def test_a_row_may_have_no_more_tokens(shallow):
  stream, none = shallow.stream(), POSITION.copy()
  none[1:] += 1  # the first row has ended, and had read beyond its prefix
  stream = stream._replace(
      prefix_len=np.where([True, False, False], SHORT, POSITION),
      at_prefix=stream.states,
  )
  after = shallow.read(stream, POSITION, none, as_prefix=True)
  first = lambda tree: jax.tree.map(lambda x: x[0], tree)
  assert_equal_trees(first(after), first(stream), atol=0)
  np.testing.assert_array_equal(after.prefix_len[1:], none[1:])


def test_caches_of_attention_need_a_capacity(deep):
  with pytest.raises(ValueError, match='state_capacity must be given'):
    lib.start(deep.model, batch=1)


def test_new_tokens_can_join_the_prefix(shallow):
  zero = np.zeros(3, np.int32)
  stream = shallow.read(shallow.empty, zero, SHORT, as_prefix=True)
  stream = shallow.read(stream, SHORT, LONG, as_prefix=True)
  stream = shallow.read(stream, LONG, POSITION)
  assert_equal_trees(stream, shallow.stream(LONG))


@pytest.mark.parametrize('length', range(L + 1))
def test_exact_is_reading_afresh(deep, length):
  prefix_len = np.clip(length, SHORT, POSITION).astype(np.int32)
  stream = deep.extend(deep.stream(), prefix_len, mode='exact')
  logits, states = deep.afresh(prefix_len)
  np.testing.assert_allclose(stream.logits, logits, atol=1e-4)
  np.testing.assert_allclose(
      deep.follow(stream.states), deep.follow(states), atol=1e-4
  )


def test_frozen_drifts_in_deeper_models(deep):
  stream = deep.stream()
  exact, frozen = (
      deep.follow(deep.extend(stream, LONG, mode=mode).states)
      for mode in lib.MODES
  )
  drift = np.abs(frozen - exact).max(axis=1)
  assert (drift[:2] > 1e-2).all()
  assert drift[2] < 1e-4  # of the row whose prefix stays


def test_the_same_length_changes_nothing(deep):
  stream = deep.stream()
  frozen = deep.extend(stream, SHORT, mode='frozen')
  assert_equal_trees(frozen, stream, rtol=0, atol=0)
  exact = deep.extend(stream, SHORT, mode='exact')
  np.testing.assert_allclose(exact.logits, stream.logits, atol=1e-4)


def test_a_row_does_not_depend_on_the_others(deep):
  others = TOKENS.copy()
  others[1:] = (others[1:] + 7) % 20
  for mode in lib.MODES:
    expected = deep.extend(deep.stream(), LONG, mode=mode)
    stream = deep.stream(np.array([4, 3, 0], np.int32), tokens=others)
    wanted = np.array([7, 3, 5], np.int32)
    actual = deep.extend(stream, wanted, mode=mode, tokens=others)
    first = lambda s: deep.follow(s.states)[0]
    np.testing.assert_allclose(first(actual), first(expected), atol=1e-4)


def test_under_jit_the_nearest_possible_length_is_taken(shallow):
  stream = shallow.stream()
  beyond = np.array([0, 99, 2], np.int32)
  actual = shallow.extend(stream, beyond, mode='frozen')
  np.testing.assert_array_equal(actual.prefix_len, [4, 9, 2])
  expected = shallow.extend(stream, actual.prefix_len, mode='frozen')
  assert_equal_trees(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('prefix_len', 'capacity', 'message'),
    [
        ([3, 0, 2], None, r'between \[4 0 2\] and \[12  9  6\], got \[3 0 2\]'),
        ([13, 0, 2], None, r'and \[12  9  6\], got \[13  0  2\]'),
        ([7, 0, 2], 2, r'between \[4 0 2\] and \[6 2 4\], got \[7 0 2\]'),
    ],
)
def test_a_prefix_that_shrinks_or_outgrows_is_refused(
    shallow, prefix_len, capacity, message
):
  with pytest.raises(ValueError, match=message):
    lib.extend_prefix(
        shallow.model,
        shallow.stream(),
        TOKENS,
        np.array(prefix_len),
        mode='frozen',
        capacity=capacity,
    )


def test_a_prefix_with_a_gap_is_refused(shallow):
  with pytest.raises(ValueError, match=r'got \[4 0 2\]: see extend_prefix'):
    lib.read(shallow.model, shallow.stream(), TOKENS, as_prefix=True)


def test_an_unknown_mode_is_refused(shallow):
  model = shallow.model
  with pytest.raises(ValueError, match="mode must be one of .* got 'fast'"):
    lib.extend_prefix(model, shallow.empty, TOKENS, SHORT, mode='fast')


@pytest.mark.parametrize(
    'mixer, keys',
    [('prefix_gdn', {}), ('pla', {'pla': {'causal_in_prefix': False}})],
    ids=['prefix_gdn', 'no causal keys in the prefix'],
)
def test_what_is_no_sum_cannot_be_added_to(tiny_config, mixer, keys):
  model = models.build(tiny_config(mixers=('conv', mixer), **keys))
  stream = lib.start(model, batch=3)
  with pytest.raises(ValueError, match=f"must be 'exact' .*{mixer} layers"):
    lib.extend_prefix(model, stream, TOKENS, SHORT, mode='frozen')


def test_tokens_that_are_missing_are_named(shallow):
  with pytest.raises(ValueError, match=r'all \[12  9  6\] .* read, got 11'):
    lib.extend_prefix(shallow.model, shallow.stream(), TOKENS[:, 1:], SHORT)
