"""How much a learned prefix gains if a prompt shows the right length.

It trains the bandit of `jrt_jax.prefix` on simulated prompts. One control
learns from the signals of other prompts, another assigns the bandit's lengths
to prompts at random.

Source: the student report, future work; environment and numbers are ours.
"""

import numpy as np

from jrt_jax.evaluation.synthetic import probes
from jrt_jax.prefix.learned import comparison
from jrt_jax.prefix.learned import simulation

NUM_PROMPTS = 2000  # half of them train


def _measure(rng: np.random.Generator) -> probes.Figures:
  table = simulation.table(NUM_PROMPTS, rng)
  outcomes = comparison.run(table, simulation.COST, rng)
  return {
      (name, column): float(getattr(outcome, column))
      for name, outcome in outcomes.items()
      for column in ('reward', 'fraction', 'regret')
  }


def _expectations(figures: probes.Seeds) -> list[probes.Expectation]:
  def gain(more, less='best fixed', **bounds):
    difference = figures[more, 'reward'] - figures[less, 'reward']
    return probes.Expectation(f'{more} - {less}', difference, **bounds)

  return [
      gain('full feedback', low=0.03),
      gain('oracle', 'full feedback', low=0.0),
      gain('signals shuffled', low=-0.005, high=0.005),
      gain('lengths shuffled', high=0.0),
  ]


PROBE = probes.Probe(
    'Prefix lengths, learned: what a policy gains on held-out prompts',
    _measure,
    _expectations,
)
