import numpy as np
import pytest

from configs import base
from jrt_jax.data.synthetic.mqar import TASK

SETTINGS = base.get_config().data.synthetic.to_dict() | {'num_ids': 64}


def draw(size, seed=0, **changes):
  return TASK.draw(np.random.default_rng(seed), size, SETTINGS | changes)


def test_pairs_come_first_then_their_keys_at_even_places_among_noise():
  for seed in range(20):
    sample = draw((32, 4), seed)
    assert len(sample.tokens) == 32 and sample.prompt_len == 8
    keys, values = sample.tokens[:8:2], sample.tokens[1:8:2]
    assert len({*keys}) == len({*values}) == 4
    assert ((1 <= keys) & (keys < 32)).all() and (values >= 32).all()
    (places,) = np.nonzero(sample.targets >= 0)
    assert (places % 2 == 0).all() and (places >= 8).all()
    assert {*sample.tokens[places]} == {*keys}


def test_most_keys_come_soon():
  places = [np.flatnonzero(draw((256, 4), s).targets >= 0) for s in range(100)]
  gaps = (np.concatenate(places) - 8) // 2
  assert np.median(gaps) < 15 < 100 < gaps.max()  # of 124 places


def test_a_second_pass_reads_the_same_pairs():
  sample = draw((32, 4), order='DDQ')
  assert sample.prompt_len == 16 and len(sample.tokens) == 32
  np.testing.assert_array_equal(sample.tokens[:8], sample.tokens[8:16])


def test_fewer_queries_can_be_asked():
  assert (draw((32, 4), queries=2).targets >= 0).sum() == 2


def test_pairs_that_leave_no_room_for_their_queries_are_refused():
  assert (draw((16, 4)).targets >= 0).sum() == 4  # which just fit
  with pytest.raises(ValueError, match='must leave room for 4 pairs'):
    draw((15, 4))
