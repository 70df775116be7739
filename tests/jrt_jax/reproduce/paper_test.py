import numpy as np
import pytest

from jrt_jax.evaluation import statistics
from jrt_jax.reproduce import paper


def gains(rows):
  return np.array([np.subtract(row.twice, row.default) for row in rows])


def test_table_1_gives_the_headline_and_says_what_its_deviation_is_of():
  found = statistics.crossed(gains(paper.TABLE_1))
  assert found.estimate == pytest.approx(11.04, abs=0.005)
  assert found.sd_over_models == pytest.approx(1.31, abs=0.005)
  assert found.low == pytest.approx(6.3, abs=0.2)
  assert found.high == pytest.approx(15.2, abs=0.2)
  assert (found.negative, found.n) == (6, 96)


def test_two_of_its_sixteen_models_are_not_recurrent():
  recurrent = [row for row in paper.TABLE_1 if row.is_recurrent]
  found = statistics.crossed(gains(recurrent))
  assert (len(paper.TABLE_1), len(recurrent)) == (16, 14)
  assert found.estimate == pytest.approx(11.28, abs=0.005)
  assert found.sd_over_models == pytest.approx(1.18, abs=0.005)


def test_its_rows_are_those_that_were_printed():
  averages = {  # percent, default and twice, as printed
      ('Transformer++', '1.3B/10B'): (42.5, 51.1),
      ('Based', '1.3B/50B'): (40.3, 51.8),
      ('Mamba', '2.8B/300B'): (42.8, 52.6),
      ('Mamba-2', '2.7B/300B'): (48.9, 58.8),
  }
  rows = {(row.model, row.size): row for row in paper.TABLE_1}
  assert len(rows) == 16
  for name, printed in averages.items():
    ours = np.mean(rows[name].default), np.mean(rows[name].twice)
    assert ours == pytest.approx(printed, abs=0.1)
