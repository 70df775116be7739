import numpy as np

from configs import base
from jrt_jax.data.synthetic.forward_reference import TASK

SETTINGS = base.get_config().data.synthetic.to_dict() | {'num_ids': 24}


def draw(**changes):
  return TASK.draw(np.random.default_rng(0), 4, SETTINGS | changes)


def test_attributes_follow_all_mentions_and_are_answers_at_them():
  sample = draw()
  tokens = sample.tokens.tolist()
  said = dict(zip(tokens[5::2], tokens[6::2]))
  assert tokens[4] == 1 and {*said} == {*tokens[:4]} and len(said) == 4
  expected = [said[name] for name in tokens[:4]]
  assert sample.targets.tolist() == expected + [-1] * 9
  assert sample.prompt_len == 13  # all of it is read as prefix


def test_some_mentions_may_be_asked_alone():
  assert (draw(queries=1).targets >= 0).sum() == 1
