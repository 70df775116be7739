"""Arms of a comparison, each at its own best learning rate.

Learning rates are compared on seeds of their own. Then each arm runs at its best
rate with fresh seeds, and only those are reported: the best of several noisy
scores would flatter.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jrt_jax.reproduce.exhibit import Job
from jrt_jax.reproduce.exhibit import Results


class Sweep(NamedTuple):
  """Attributes:

  arms: the settings of each, by its name.
  rates: learning rates, ascending.
  trials: seeds that rates are compared on.
  seeds: fresh ones, of which no trial is one.
  common: settings of all.
  score: the figure by which rates are chosen, of held-out data; the higher the
    better. None, as of a run that has diverged, is the worst.
  """

  arms: Mapping[str, Mapping[str, Any]]
  rates: Sequence[float]
  trials: Sequence[int]
  seeds: Sequence[int]
  common: Mapping[str, Any] = {}
  score: str = 'score'

  def jobs(self, results: Results) -> list[Job]:
    """Returns all trials, and the fresh runs of arms whose trials are done.

    Raises:
      ValueError: a fresh seed is that of a trial.
    """
    if shared := {*self.trials} & {*self.seeds}:
      raise ValueError(f'seeds must be fresh, got {shared} of the trials')
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

  def trial_scores(self, arm: str, results: Results) -> dict[float, float]:
    """Returns the mean score of the trials at each rate whose trials are done."""
    means = {}
    for rate in self.rates:
      names = [self._job('trial', arm, rate, s).name for s in self.trials]
      if all(name in results for name in names):
        scores = [results[n].figures[self.score] for n in names]
        known = float('-inf') if None in scores else sum(scores) / len(scores)
        means[rate] = known
    return means

  def best_rate(self, arm: str, results: Results) -> float | None:
    """Returns the rate of the best mean score; None until trials are done."""
    means = self.trial_scores(arm, results)
    if len(means) < len(self.rates):
      return None
    return max(means, key=means.__getitem__)

  def is_at_edge(self, arm: str, results: Results) -> bool:
    """Whether the best rate is the first or the last: others may be better."""
    return self.best_rate(arm, results) in (self.rates[0], self.rates[-1])

  def figures(self, arm: str, results: Results, figure: str) -> list[Any]:
    """Returns a figure of all fresh runs, by seed."""
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
