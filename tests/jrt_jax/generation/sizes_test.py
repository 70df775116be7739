import numpy as np
import pytest

from jrt_jax.generation import sizes


@pytest.mark.parametrize(
    ('size', 'filled'), [(0, 1), (1, 1), (2, 2), (3, 4), (8, 8), (9, 16)]
)
def test_batches_are_filled_up_to_powers_of_two(size, filled):
  rows = [('a',)] * size
  assert sizes.filled(size) == len(sizes.with_empty(rows)) == filled
  assert sizes.with_empty(rows)[:size] == rows
  assert not any(sizes.with_empty(rows)[size:])


def test_each_replica_gets_as_many_rows():
  rows = {n: sizes.filled_rows(n, 6) for n in (1, 6, 7, 13, 24, 25)}
  assert rows == {1: 6, 6: 6, 7: 12, 13: 24, 24: 24, 25: 48}
  assert len(sizes.with_empty([('a',)] * 7, 6)) == 12


def test_rows_have_at_least_16_tokens():
  lengths = [sizes.filled_length(n) for n in (1, 16, 17, 1000)]
  assert lengths == [16, 16, 32, 1024]


def test_caches_are_of_few_sizes_and_hardly_larger_than_they_must_be():
  tokens = np.arange(1, 2**16)
  slots = np.array([sizes.slots_for(int(n)) for n in tokens])
  assert (slots >= tokens).all() and (slots <= tokens * 1.25 + 256).all()
  assert len(np.unique(slots)) < 32
