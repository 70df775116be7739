"""Learned prefix lengths: the simulation as a probe."""

import numpy as np

from jrt_jax.evaluation.synthetic import learned_prefix
from jrt_jax.evaluation.synthetic import probes


def test_all_lies_in_its_range():
  measured = [learned_prefix.PROBE.measure(np.random.default_rng(7))]
  result = probes.summarize(learned_prefix.PROBE, measured)
  assert result.holds(), probes.report(result)
  regret = {
      row: x
      for (row, column), x in result.figures.items()
      if column == 'regret'
  }
  assert regret['oracle'] == 0 < regret['full feedback'] < regret['best fixed']
