import itertools
import json

import numpy as np
import pytest

from jrt_jax.data import packings
from jrt_jax.data import pipeline
from jrt_jax.data import streams
from jrt_jax.data import windows
from jrt_jax.data.examples import Recipe
from jrt_jax.prefix import policies

MASK = 60_000
OBJECTIVE = {
    'name': 'jrt',
    'mask_rate': 0.3,
    'boundary': 'predict',
    'token_zero': 'predict',
}
PREFIX = {'name': 'uniform', 'capacity': 0.5}
RECIPE = Recipe(8, OBJECTIVE, PREFIX, num_ids=MASK, mask_id=MASK)
TOKENS = np.arange(8 * 10 + 1, dtype=np.uint16)  # ten windows of 8 + 1


def batches(tokens=TOKENS, **changes):
  """Batches of a stream; `changes` are of its recipe or of the iterator."""
  of_recipe = {k: x for k, x in changes.items() if k in RECIPE._fields}
  recipe = RECIPE._replace(**of_recipe)
  options = dict(batch_size=2, seed=0, training=True, num_threads=0)
  options |= {k: x for k, x in changes.items() if k not in of_recipe}
  return pipeline.batches(streams.in_memory(tokens), recipe, **options)


def examples(number, batch_size=2, **changes):
  """The first `number` examples, whatever batches they come in."""
  iterator = batches(batch_size=batch_size, **changes)
  taken = list(itertools.islice(iterator, -(-number // batch_size)))
  joined = {
      key: np.concatenate([batch[key] for batch in taken]) for key in taken[0]
  }
  return {key: values[:number] for key, values in joined.items()}


def first_tokens(examples):
  """Identifies windows, by their first next-token label less its place."""
  place = (examples['supervision'] == 1).argmax(axis=1)
  return examples['targets'][np.arange(len(place)), place] - place - 1


def test_evaluation_reads_consecutive_windows_once_and_in_order():
  objective = OBJECTIVE | {'name': 'next_token'}
  prefix = PREFIX | {'name': 'none'}
  iterator = batches(
      np.arange(8 * 5 + 7),
      training=False,
      objective=objective,
      prefix=prefix,
  )
  read = list(iterator)
  assert len(read) == 2  # of five windows, four fill batches
  tokens = np.concatenate([batch['tokens'] for batch in read])
  targets = np.concatenate([batch['targets'] for batch in read])
  np.testing.assert_array_equal(tokens, np.arange(32).reshape(4, 8))
  np.testing.assert_array_equal(targets, np.arange(1, 33).reshape(4, 8))


def test_batches_have_the_shapes_and_types_that_the_model_reads():
  batch = next(batches())
  assert {k: (v.shape, v.dtype.name) for k, v in batch.items()} == {
      'tokens': ((2, 8), 'int32'),
      'targets': ((2, 8), 'int32'),
      'supervision': ((2, 8), 'int8'),
      'prefix_len': ((2,), 'int32'),
  }


def test_each_epoch_reads_every_window_in_an_order_of_its_own():
  order = first_tokens(examples(30)).reshape(3, 10)
  for epoch in order:
    np.testing.assert_array_equal(np.sort(epoch), np.arange(0, 80, 8))
  assert len({tuple(epoch) for epoch in order}) == 3


def test_each_epoch_draws_prefixes_and_masks_of_its_own():
  drawn = examples(20)
  first, second = np.argsort(first_tokens(drawn).reshape(2, 10), axis=1)
  second = second + 10
  assert (drawn['prefix_len'][first] != drawn['prefix_len'][second]).any()
  fixed = examples(20, prefix=PREFIX | {'name': 'full'})
  assert (fixed['tokens'][first] != fixed['tokens'][second]).any()


def test_a_chance_says_how_many_training_sequences_are_read_twice():
  plain = dict(
      objective=OBJECTIVE | {'name': 'next_token'},
      prefix=PREFIX | {'name': 'none'},
  )
  tokens = np.arange(8 * 400 + 1, dtype=np.uint16)
  drawn = examples(400, tokens=tokens, repeat=0.25, **plain)
  read, targets = drawn['tokens'], drawn['targets']
  twice = (read[:, :4] == read[:, 4:]).all(axis=1)
  assert 0.18 < twice.mean() < 0.32
  step = np.diff(np.concatenate([read, targets[:, -1:]], axis=1))
  assert (step[~twice] == 1).all()
  assert (step[twice] == [1, 1, 1, -3, 1, 1, 1, 1]).all()
  resumed = batches(tokens, repeat=0.25, batch_size=4, **plain)
  resumed.set_state({'next_index': 25})
  np.testing.assert_array_equal(next(resumed)['tokens'], read[100:104])


def test_a_chance_of_0_draws_nothing_and_held_out_text_is_read_once():
  before, after = examples(20), examples(20, repeat=0.0)
  np.testing.assert_equal(before, after)
  held_out = [
      list(batches(training=False, repeat=repeat)) for repeat in (0.0, 1.0)
  ]
  np.testing.assert_equal(*held_out)


def documents(lengths, eos_id=0):
  """Tokens of documents of these lengths, their ends included."""
  return np.concatenate([[*range(1, n), eos_id] for n in lengths])


@pytest.mark.parametrize('name', ['fixed', 'uniform', 'full'])
def test_every_packed_window_predicts_a_token_of_its_first_document(name):
  tokens = documents([7, 3, 2, 90, 1, 30, 12, 5] * 9)
  batch = next(
      batches(
          tokens,
          sequence_length=32,
          batch_size=36,
          packing='documents',
          eos_id=0,
          prefix={'name': name, 'capacity': 0.9},
      )
  )
  first = batch['segment_ids'] == 0
  predicted = ((batch['supervision'] == 1) & first).any(axis=1)
  np.testing.assert_array_equal(predicted, batch['tokens'][:, 0] != 0)


@pytest.mark.parametrize('changes', [{'num_threads': 3}, {'batch_size': 5}])
def test_examples_do_not_depend_on_threads_or_batches(changes):
  np.testing.assert_equal(examples(25, **changes), examples(25))


def test_the_seed_decides_the_order_and_the_draws():
  np.testing.assert_equal(examples(10, seed=7), examples(10, seed=7))
  assert (
      first_tokens(examples(10, seed=7)) != first_tokens(examples(10))
  ).any()
  one, two = (examples(4, training=False, seed=s)['tokens'] for s in (0, 1))
  assert (one != two).any()


@pytest.mark.parametrize('num_threads', [0, 3])
@pytest.mark.parametrize('done', [0, 3, 5, 17])
def test_resumed_batches_equal_uninterrupted_ones(num_threads, done):
  uninterrupted = batches(num_threads=num_threads)
  for _ in range(done):
    next(uninterrupted)
  state = json.loads(json.dumps(uninterrupted.get_state()))
  resumed = batches(num_threads=num_threads)
  next(resumed)
  resumed.set_state(state)
  for _ in range(12):
    np.testing.assert_equal(next(resumed), next(uninterrupted))
  assert resumed.get_state() == uninterrupted.get_state()


def in_parts(iterators):
  """One batch of each iterator, joined."""
  batches = [next(iterator) for iterator in iterators]
  return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}


@pytest.mark.parametrize('packing', packings.PACKINGS)
@pytest.mark.parametrize('parts', [2, 3, 6])
def test_parts_of_a_batch_join_to_the_whole(parts, packing):
  options = dict(batch_size=6, packing=packing, eos_id=35)
  whole = batches(**options)
  shares = [batches(**options, share=(i, parts)) for i in range(parts)]
  for _ in range(5):  # across epochs
    np.testing.assert_equal(in_parts(shares), next(whole))


def test_a_place_in_parts_is_that_of_any_number_of_parts():
  states = []
  for parts in (1, 2, 3):
    shares = [batches(batch_size=6, share=(i, parts)) for i in range(parts)]
    for _ in range(4):
      in_parts(shares)
    states += [share.get_state() for share in shares]
  assert all(state == states[0] for state in states)
  whole = batches(batch_size=6)
  shares = [batches(batch_size=6, share=(i, 3)) for i in range(3)]
  for iterator in [whole, *shares]:
    iterator.set_state(states[0])
  np.testing.assert_equal(in_parts(shares), next(whole))


def test_parts_hold_the_same_batches_out():
  # Of ten windows, two batches of four; each part alone could fill three.
  for parts in (1, 2, 4):
    shares = [
        batches(batch_size=4, training=False, share=(i, parts))
        for i in range(parts)
    ]
    assert [len(list(share)) for share in shares] == [2] * parts


def test_a_batch_that_parts_cannot_share_is_refused():
  with pytest.raises(ValueError, match='batch_size=6 .* of the 4 processes'):
    batches(batch_size=6, share=(0, 4))


def test_resuming_far_ahead_reads_nothing_on_the_way(monkeypatch):
  read = []
  uniform = policies.UNIFORM

  def length(example):
    read.append(1)
    return uniform.length(example)

  policy = uniform._replace(length=length)
  monkeypatch.setitem(policies.PREFIX_POLICIES, 'uniform', policy)
  iterator = batches()
  iterator.set_state({'next_index': 10**12})
  next(iterator)
  assert len(read) == 2  # the examples of one batch


def test_prefixes_stay_within_the_capacity():
  assert set(examples(200)['prefix_len']) == {0, 1, 2, 3, 4}


def test_a_stream_shorter_than_a_window_is_refused():
  for training, use in ((True, 'to train on'), (False, 'held out')):
    message = f'config.sequence_length=8 .* {use}, got 8'
    with pytest.raises(ValueError, match=message):
      batches(TOKENS[:8], training=training)
  next(batches(TOKENS[:9]))


def test_a_pass_over_less_than_a_batch_is_refused():
  with pytest.raises(
      ValueError, match='at least 11 windows .* got 10: .*microbatch'
  ):
    batches(training=False, batch_size=11)


def test_an_objective_that_does_not_fit_the_prefix_is_refused():
  with pytest.raises(ValueError, match='^config.objective.name='):
    batches(objective=OBJECTIVE | {'name': 'next_token'})


def test_throughput_is_measured_with_at_least_a_batch():
  assert pipeline.tokens_per_second(batches(), seconds=0) > 0
  assert pipeline.tokens_per_second(batches(num_threads=2), seconds=0.01) > 0


@pytest.mark.parametrize('num_threads', [0, 2])
@pytest.mark.parametrize('unknown', [-1, 35, 2**31])
def test_an_id_that_is_no_token_is_refused(unknown, num_threads):
  tokens = np.arange(8 * 4 + 1, dtype=np.int64)
  tokens[21] = unknown
  message = rf'ids of its .* in \[0, 35\), got {unknown} at token 21'
  with pytest.raises(windows.UnknownId, match=message):
    list(
        itertools.islice(
            batches(tokens, num_ids=35, num_threads=num_threads), 4
        )
    )
