import itertools

import numpy as np
import pytest

from configs import base
from jrt_jax.data import objectives
from jrt_jax.data import pipeline
from jrt_jax.data import prefix_lengths
from jrt_jax.data.examples import Recipe
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.data.synthetic import tasks

SETTINGS = base.get_config().data.synthetic.to_dict() | {'sizes': (2, 4)}
OBJECTIVE = {
    'name': 'prefix_lm',
    'mask_rate': 0.5,
    'boundary': 'predict',
    'token_zero': 'predict',
}
MASK = 100
PREFIX = {'name': 'full', 'capacity': 0.5}
RECIPE = Recipe(16, OBJECTIVE, PREFIX, num_ids=MASK, mask_id=MASK)


def batches(settings=SETTINGS, held_out=False, **changes):
  """Batches of a task; `changes` are of its recipe or of the iterator."""
  of_recipe = {k: x for k, x in changes.items() if k in RECIPE._fields}
  recipe = RECIPE._replace(**of_recipe)
  options = dict(batch_size=4, seed=0, training=not held_out, num_threads=0)
  options |= {k: x for k, x in changes.items() if k not in of_recipe}
  split = split_lib.Split('needle', settings, held_out=held_out)
  return pipeline.batches(split, recipe, **options)


def rows(iterator, number):
  """The first `number` examples, whatever batches they come in."""
  taken = []
  while len(taken) < number:
    batch = next(iterator)
    taken += [
        {key: x[i] for key, x in batch.items()}
        for i in range(len(batch['tokens']))
    ]
  return taken[:number]


def assert_same(some, others):
  for one, other in zip(some, others, strict=True):
    for key in one:
      np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@pytest.mark.parametrize(
    'prefix, lengths',
    [
        ({'name': 'none', 'capacity': 0.5}, {0}),
        ({'name': 'full', 'capacity': 0.5}, {7, 11}),
        ({'name': 'fixed', 'capacity': 0.5}, {7, 8}),
        ({'name': 'uniform', 'capacity': 0.5}, {*range(9)}),
    ],
)
def test_the_prompt_is_the_prefix_as_far_as_there_is_room(prefix, lengths):
  found = rows(batches(prefix=prefix), 200)
  assert {int(example['prefix_len']) for example in found} == lengths
  split = split_lib.Split('needle', SETTINGS, held_out=False)
  mean = prefix_lengths.mean(split, RECIPE._replace(prefix=prefix))
  assert min(lengths) <= mean <= max(lengths)


@pytest.mark.parametrize('objective', objectives.OBJECTIVES)
@pytest.mark.parametrize('name', tasks.TASKS)
def test_every_task_gives_examples_for_every_objective(name, objective):
  prefix = 'none' if objective == 'next_token' else 'fixed'
  split = split_lib.Split(name, SETTINGS | {'sizes': ()}, held_out=False)
  recipe = Recipe(
      1024,
      objective=OBJECTIVE | {'name': objective},
      prefix={'name': prefix, 'capacity': 0.5},
      num_ids=split.num_ids,
      mask_id=split.num_ids,
  )
  iterator = pipeline.batches(
      split, recipe, batch_size=2, seed=0, training=True, num_threads=0
  )
  batch = next(iterator)
  assert {k: (x.shape, x.dtype.name) for k, x in batch.items()} == {
      'tokens': ((2, 1024), 'int32'),
      'targets': ((2, 1024), 'int32'),
      'supervision': ((2, 1024), 'int8'),
      'prefix_len': ((2,), 'int32'),
  }
  masked = batch['supervision'] == objectives.MASKED_TOKEN
  assert masked.any() == (objective == 'jrt')
  assert (batch['tokens'][masked] == split.num_ids).all()


def test_examples_do_not_depend_on_threads_nor_on_parts():
  alone = rows(batches(), 8)
  assert_same(alone, rows(batches(num_threads=2), 8))
  parts = [batches(share=(part, 2)) for part in range(2)]
  halves = [rows(iterator, 4) for iterator in parts]
  rejoined = [halves[i // 2 % 2][i // 4 * 2 + i % 2] for i in range(8)]
  assert_same(alone, rejoined)


def test_a_batch_holds_what_its_examples_are_one_by_one():
  alone = rows(batches(batch_size=1), 8)
  assert_same(alone, rows(batches(), 8))


def test_other_seeds_give_other_examples_and_none_comes_twice():
  tokens = lambda seed: [
      x['tokens'].tobytes() for x in rows(batches(seed=seed), 100)
  ]
  assert len({*tokens(0), *tokens(1)}) == 200


def test_what_is_held_out_is_the_same_for_every_seed_and_not_trained_on():
  held_out = rows(batches(held_out=True), 40)
  assert_same(held_out, rows(batches(held_out=True, seed=5), 40))
  known = {x['tokens'].tobytes() for x in rows(batches(), 400)}
  assert not known & {x['tokens'].tobytes() for x in held_out}


def num_pairs(batch):
  return ((batch['prefix_len'] - 3) // 2).tolist()


@pytest.mark.parametrize('after', range(5))
def test_a_curriculum_changes_sizes_at_its_steps_and_resumes_exactly(after):
  settings = SETTINGS | {
      'sizes': (2, 3, 4),
      'curriculum': 'one_by_one',
      'stage_steps': (2, 1),
  }
  expected = list(itertools.islice(batches(settings), 5))
  assert [{*num_pairs(batch)} for batch in expected] == [
      {2},
      {2},
      {3},
      {4},
      {4},
  ]
  first = batches(settings)
  for _ in range(after):
    next(first)
  resumed = batches(settings)
  resumed.set_state(first.get_state())
  assert_same([next(resumed)], expected[after : after + 1])


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(prefix={'name': 'entropy', 'capacity': 0.5}),
            "config.prefix.name must be none or full or .* got 'entropy'",
        ),
        (dict(repeat=0.5), 'config.data.repeat must be 0 with .* got 0.5'),
        (dict(packing='documents'), 'config.data.packing must be concat with'),
        (
            dict(sequence_length=12),
            'config.sequence_length must be at least 13',
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes, message):
  with pytest.raises(ValueError, match=f'^{message}') as error:
    batches(**changes)
  assert '\n' not in str(error.value)
