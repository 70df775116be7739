import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic.multi_hop import TASK

SETTINGS = base.get_config().data.synthetic.to_dict() | {'num_ids': 40}


@pytest.mark.parametrize('hops', [1, 2, 3])
def test_the_answer_is_as_many_pairs_away_as_there_are_hops(hops):
  settings = SETTINGS | {'hops': hops}
  for seed in range(10):
    sample = TASK.draw(np.random.default_rng(seed), 7, settings)
    tokens = sample.tokens.tolist()
    following = dict(zip(tokens[:14:2], tokens[1:14:2]))
    assert len(following) == 7
    places = np.flatnonzero(sample.targets >= 0).tolist()
    assert len(places) == 7 // hops
    assert tokens[15 : tokens.index(2)] == [tokens[i] for i in places]
    for place in places:
      x = tokens[place]
      for _ in range(hops):
        x = following[x]
      assert x == sample.targets[place]
      assert x not in following  # which is the end of its chain


def test_more_hops_than_pairs_are_refused():
  with pytest.raises(ValueError, match='hops must be at most .*, 2, got 3'):
    TASK.draw(np.random.default_rng(0), 2, SETTINGS | {'hops': 3})
