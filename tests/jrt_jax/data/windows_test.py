import numpy as np
import pytest

from jrt_jax.data import streams
from jrt_jax.data import windows

TOKENS = np.arange(8 * 10 + 5, dtype=np.uint16)  # ten windows, and four tokens


def cut(tokens=TOKENS, num_ids=100):
  return windows.Windows(streams.in_memory(tokens), 8, num_ids)


def test_a_window_ends_with_the_first_token_of_the_next():
  assert len(cut()) == 10
  assert [cut()[i].tolist() for i in (0, 9)] == [
      [*range(9)],
      [*range(72, 81)],
  ]


def test_windows_are_views_of_the_stream():
  assert all(np.shares_memory(cut()[i], TOKENS) for i in range(10))


@pytest.mark.parametrize('tokens, number', [(0, 0), (8, 0), (9, 1), (17, 2)])
def test_a_window_needs_a_label_for_its_last_token(tokens, number):
  assert len(cut(TOKENS[:tokens])) == number


def test_an_id_of_another_tokenizer_is_refused_where_it_is_read():
  some = cut(num_ids=20)
  assert some[0].max() < some[1].max() < 20
  with pytest.raises(windows.UnknownId, match=r'\[0, 20\), got 20 at token 20'):
    _ = some[2]
