import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic import split as split_lib

SETTINGS = base.get_config().data.synthetic.to_dict() | {'sizes': (4, 8)}


def make(name='needle', held_out=False, **changes):
  return split_lib.Split(name, SETTINGS | changes, held_out=held_out)


def draw(split, index, seed=0):
  rng = np.random.default_rng(seed)
  return split.draw(index, rng, batch_size=2).tokens.tolist()


def test_what_is_held_out_does_not_depend_on_the_seed():
  split = make(held_out=True)
  assert draw(split, 3, seed=0) == draw(split, 3, seed=1)
  assert draw(split, 3) != draw(split, 5)
  assert draw(make(), 3, seed=0) != draw(make(), 3, seed=1)


def test_sizes_take_turns_in_what_is_held_out():
  lengths = [len(draw(make(held_out=True), i)) for i in range(4)]
  assert lengths == [13, 21, 13, 21]
  only = make(held_out=True).only(8)
  assert [len(draw(only, i)) for i in range(2)] == [21, 21]


def test_training_mixes_sizes():
  lengths = [len(draw(make(), 0, seed)) for seed in range(40)]
  assert 8 < lengths.count(13) < 32 and {*lengths} == {13, 21}


def test_held_out_sizes_are_those_of_training_unless_they_are_given():
  assert make(held_out=True).sizes == (4, 8)
  assert make(held_out=True, held_out_sizes=(16,)).sizes == (16,)
  official = make('set_disjointness', held_out=True, sizes=())
  assert (16, 768) in official.sizes
  changed = make('set_disjointness', held_out=True, sizes=([2, 3],))
  assert changed.sizes == ((2, 3),)


def test_other_questions_have_another_fingerprint():
  prints = [
      make().fingerprint,
      make('multi_hop').fingerprint,
      make(num_ids=50).fingerprint,
      make(sizes=(4, 9)).fingerprint,
      make(curriculum='cumulative', stage_steps=(5,)).fingerprint,
      make(order='QD').fingerprint,
  ]
  assert len({*prints}) == len(prints)
  assert make().fingerprint == prints[0]


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(sizes=((4, 8),)), 'sizes must each be a whole number'),
        (dict(name='mqar'), 'sizes must each be a pair: tokens, key-value'),
        (dict(stage_steps=(3,)), 'stage_steps must have 0 numbers'),
        (dict(num_ids=8), 'num_ids must leave 4 keys'),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(changes, message):
  with pytest.raises(
      ValueError, match=f'^config.data.synthetic.{message}'
  ) as e:
    make(**changes)
  assert '\n' not in str(e.value)


def test_a_sequence_without_room_for_a_size_is_refused():
  make().check_length(21)
  with pytest.raises(ValueError, match="at least 21 for .*'needle' with .* 8"):
    make().check_length(20)
