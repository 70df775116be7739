import importlib
import itertools
import json
import pathlib
import types

import numpy as np
import pytest

import configs
from configs import base
from jrt_jax.data import pipeline
from jrt_jax.data import streams
from jrt_jax.data import tokenizers

MASK = 60_000
OBJECTIVE = {
    'name': 'jrt',
    'mask_rate': 0.3,
    'boundary': 'predict',
    'token_zero': 'predict',
}
PREFIX = {'name': 'uniform', 'capacity': 0.5}
TOKENS = np.arange(8 * 10 + 1, dtype=np.uint16)  # ten windows of 8 + 1


def batches(tokens=TOKENS, **changes):
  stream = streams.in_memory(tokens)
  options = dict(
      sequence_length=8,
      batch_size=2,
      objective=OBJECTIVE,
      prefix=PREFIX,
      num_ids=MASK,
      mask_id=MASK,
      seed=0,
      training=True,
      num_threads=0,
  )
  return pipeline.batches(stream, **options | changes)


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


@pytest.mark.parametrize('packing', ['concat', 'documents'])
@pytest.mark.parametrize('name', ['none', 'fixed', 'uniform'])
def test_the_mean_prefix_is_that_of_the_examples(packing, name):
  tokens = documents(np.random.default_rng(0).integers(2, 40, size=400))
  options = dict(
      sequence_length=32,
      packing=packing,
      eos_id=0,
      prefix={'name': name, 'capacity': 0.5},
  )
  drawn = examples(200, tokens=tokens, **options)['prefix_len']
  mean = pipeline.mean_prefix(streams.in_memory(tokens), **options)
  assert mean == pytest.approx(drawn.mean(), abs=0.8)
  if packing == 'documents' and name == 'fixed':
    assert mean < 12  # of a capacity of 16


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


@pytest.mark.parametrize('packing', ['concat', 'documents'])
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
  uniform = pipeline.policies.PREFIX_POLICIES['uniform']

  def length(example):
    read.append(1)
    return uniform.length(example)

  monkeypatch.setitem(
      pipeline.policies.PREFIX_POLICIES,
      'uniform',
      uniform._replace(length=length),
  )
  iterator = batches()
  iterator.set_state({'next_index': 10**12})
  next(iterator)
  assert len(read) == 2  # the examples of one batch


def test_windows_are_views_of_the_stream():
  windows = pipeline._Windows(streams.in_memory(TOKENS), 8, num_ids=MASK)
  assert len(windows) == 10
  assert all(np.shares_memory(windows[i], TOKENS) for i in range(10))


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


def test_a_source_without_text_is_refused_where_text_is_read():
  data = base.get_config().data.to_dict() | {'source': 'mqar'}
  with pytest.raises(ValueError, match="must be text, got 'mqar', a synthetic"):
    pipeline.token_streams(data, pipeline.load_tokenizer(data))


def token_streams(
    tmp_path, text='abcdefgh', tokenizer=tokenizers.Bytes(), **changes
):
  path = tmp_path / 'train.txt'
  path.write_text(text)
  data = {
      'source': 'text',
      'path': str(path),
      'text_key': 'text',
      'validation_path': '',
      'validation_fraction': 0.25,
  }
  return pipeline.token_streams(data | changes, tokenizer)


def test_the_end_of_the_data_is_held_out(tmp_path):
  split = token_streams(tmp_path)
  assert split['train'][:].tolist() == [*b'abcdefg']
  assert split['validation'][:].tolist() == [*b'h', 256]
  assert split['train'][:1].dtype == np.uint16


def test_held_out_files_leave_the_training_data_whole(tmp_path):
  (tmp_path / 'held_out.txt').write_text('xyz')
  split = token_streams(
      tmp_path, validation_path=str(tmp_path / 'held_out.txt')
  )
  assert split['train'][:].tolist() == [*b'abcdefgh', 256]
  assert split['validation'][:].tolist() == [*b'xyz', 256]


def test_a_large_vocabulary_gets_wide_tokens(tmp_path, monkeypatch):
  monkeypatch.setattr(tokenizers.Bytes, 'size', 2**16 + 1)
  assert token_streams(tmp_path)['train'][:1].dtype == np.uint32


def test_the_standard_library_becomes_two_streams(tmp_path):
  split = token_streams(tmp_path, source='python_stdlib')
  assert len(split['train']) > 10 * len(split['validation']) > 1_000_000
  assert (split['train'][:] == 256).sum() > 100


def test_data_without_text_are_refused(tmp_path):
  message = "config.data.source='text' has no train text"
  with pytest.raises(ValueError, match=message):
    token_streams(tmp_path, text='')


def with_vocabulary(size, objective='jrt', **model):
  tokenizer = types.SimpleNamespace(size=size)
  return pipeline.with_vocabulary(model, tokenizer, {'name': objective})


CONFIGS = [
    path.stem
    for path in pathlib.Path(configs.__file__).parent.glob('*.py')
    if path.stem not in ('__init__', 'base', 'recorded')
]


@pytest.mark.parametrize('size', [2, 257, 258, 50_257, 50_264, 128_256])
@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_has_room_for_any_tokenizer(name, size):
  config = importlib.import_module(f'configs.{name}').get_config().to_dict()
  tokenizer = types.SimpleNamespace(size=size)
  model = pipeline.with_vocabulary(
      config['model'], tokenizer, config['objective']
  )
  assert size <= model['vocab_size']
  if config['objective']['name'] == 'jrt':
    assert size <= model['mask_id'] < model['vocab_size']
  again = pipeline.with_vocabulary(model, tokenizer, config['objective'])
  assert again == model  # as a run that is continued finds it


def test_a_vocabulary_with_room_stays_as_it_is():
  gpt2 = {'vocab_size': 50_264, 'mask_id': 50_263}
  assert with_vocabulary(50_257, **gpt2) == gpt2
  assert with_vocabulary(257, **gpt2) == gpt2
  causal = {'vocab_size': 257, 'mask_id': 0}
  assert with_vocabulary(257, 'next_token', **causal) == causal


def test_a_vocabulary_without_room_is_the_tokenizers_and_its_mask():
  for vocab_size in (1, 256, 257):
    model = with_vocabulary(257, vocab_size=vocab_size, mask_id=0, width=4)
    assert model == {'vocab_size': 258, 'mask_id': 257, 'width': 4}


@pytest.mark.parametrize('mask_id', [0, 256, 300])
def test_a_mask_that_is_a_token_or_no_id_is_refused(mask_id):
  with pytest.raises(ValueError, match=f'mask_id must lie .* got {mask_id}'):
    with_vocabulary(257, vocab_size=300, mask_id=mask_id)


@pytest.mark.parametrize('num_threads', [0, 2])
@pytest.mark.parametrize('unknown', [-1, 35, 2**31])
def test_an_id_that_is_no_token_is_refused(unknown, num_threads):
  tokens = np.arange(8 * 4 + 1, dtype=np.int64)
  tokens[21] = unknown
  message = rf'ids of its .* in \[0, 35\), got {unknown} at token 21'
  with pytest.raises(pipeline.UnknownId, match=message):
    list(
        itertools.islice(
            batches(tokens, num_ids=35, num_threads=num_threads), 4
        )
    )
