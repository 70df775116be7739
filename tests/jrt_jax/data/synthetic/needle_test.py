import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic.needle import TASK

SETTINGS = base.get_config().data.synthetic.to_dict() | {'num_ids': 100}


@pytest.mark.parametrize('queries, asked', [(0, 1), (3, 3), (9, 5)])
def test_a_few_of_the_pairs_are_asked_for(queries, asked):
  settings = SETTINGS | {'queries': queries}
  sample = TASK.draw(np.random.default_rng(0), 5, settings)
  tokens = sample.tokens.tolist()
  known = dict(zip(tokens[:10:2], tokens[1:10:2]))
  assert len(known) == 5
  needles = tokens[11 : 11 + asked]
  assert tokens[10:] == [1, *needles, 2, 3, *needles]
  places = range(len(tokens) - asked, len(tokens))
  expected = {i: known[tokens[i]] for i in places}
  labels = dict(enumerate(sample.targets.tolist()))
  assert {i: x for i, x in labels.items() if x >= 0} == expected


def test_others_can_be_asked_for_than_the_question_has_named():
  settings = SETTINGS | {'queries': 2}
  sample = TASK.draw_unnamed(np.random.default_rng(0), 5, settings)
  tokens = sample.tokens.tolist()
  known = dict(zip(tokens[:10:2], tokens[1:10:2]))
  named, asked = {*tokens[11:13]}, {*tokens[15:]}
  assert named | asked < {*known} and not named & asked
  labels = [x for x in sample.targets.tolist() if x >= 0]
  assert labels == [known[key] for key in tokens[15:]]


def test_too_few_others_are_a_clear_error():
  settings = SETTINGS | {'queries': 3}
  with pytest.raises(ValueError, match='queries must be at most half of 5'):
    TASK.draw_unnamed(np.random.default_rng(0), 5, settings)
