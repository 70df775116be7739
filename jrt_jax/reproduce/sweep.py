"""Sweeps: the arms of a comparison, each at its own best learning rate.

Learning rates are compared with trial seeds. Then each arm runs at its best
rate with fresh seeds, and only these are reported, because the best of several
noisy scores is too high on average.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jrt_jax.reproduce.exhibit import Job
from jrt_jax.reproduce.exhibit import Results


class Sweep(NamedTuple):
  """The plan of a comparison.

  Attributes:
    arms: the settings of each arm, by its name.
    rates: learning rates, ascending.
    trials: the seeds with which rates are compared.
    seeds: the fresh seeds; none of them is in `trials`.
    common: the settings of all arms.
    score: the held-out figure by which rates are chosen; higher is better. A
      figure that is None, of a run that has diverged, is the worst. Without a
      `score`, the `loss` decides.
    loss: the held-out figure that decides between equal scores; lower is
      better. None: the lowest of these rates is the best.
  """

  arms: Mapping[str, Mapping[str, Any]]
  rates: Sequence[float]
  trials: Sequence[int]
  seeds: Sequence[int]
  common: Mapping[str, Any] = {}
  score: str | None = 'score'
  loss: str | None = None

  def jobs(self, results: Results) -> list[Job]:
    """Returns all trials, and the fresh runs of arms whose trials are done.

    Raises:
      ValueError: a fresh seed is also one of `trials`.
    """
    if shared := {*self.trials} & {*self.seeds}:
      raise ValueError(f'seeds must not be in trials, got {shared}')
    trials = [
        self._job('trial', arm, rate, seed)
        for arm in self.arms
        for rate in self.rates
        for seed in self.trials
    ]
    return trials + [
        self._job('run', arm, rate, seed)
        for arm in self.arms
        if (rate := self.best_rate(arm, results)) is not None
        for seed in self.seeds
    ]

  def best_rate(self, arm: str, results: Results) -> float | None:
    """Returns the rate with the best mean score; None until trials are done."""
    trials = {
        rate: [self._job('trial', arm, rate, s).name for s in self.trials]
        for rate in self.rates
    }
    if any(name not in results for names in trials.values() for name in names):
      return None

    def mean(rate, figure, sign):
      found = [results[name].figures[figure] for name in trials[rate]]
      return float('-inf') if None in found else sign * sum(found) / len(found)

    figures = [x for x in ((self.score, 1), (self.loss, -1)) if x[0]]
    return max(self.rates, key=lambda rate: [mean(rate, *x) for x in figures])

  def is_at_edge(self, arm: str, results: Results) -> bool:
    """Whether the best rate is the lowest or the highest that was tried."""
    return self.best_rate(arm, results) in (self.rates[0], self.rates[-1])

  def figures(self, arm: str, results: Results, figure: str) -> list[Any]:
    """Returns a figure of all fresh runs, in the order of seeds."""
    rate = self.best_rate(arm, results)
    return [
        results[self._job('run', arm, rate, seed).name].figures[figure]
        for seed in self.seeds
    ]

  def _job(self, kind, arm, rate, seed):
    settings = {
        **self.common,
        **self.arms[arm],
        'learning_rate': rate,
        'seed': seed,
    }
    return Job(f'{kind}-{arm}-lr{rate:g}-seed{seed}', settings)
