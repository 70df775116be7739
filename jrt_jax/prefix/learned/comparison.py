"""Compares policies on prompts on which they were not trained."""

from typing import NamedTuple

import numpy as np
import tqdm

from jrt_jax.prefix.learned import bandit
from jrt_jax.prefix.learned import policy
from jrt_jax.prefix.learned import trials

LEARNED = ('supervised', 'full feedback', 'reinforce')  # can be saved


class Outcome(NamedTuple):
  """Means over held-out prompts."""

  reward: float
  score: float
  fraction: float  # M / l, the part of a prompt that is prefix
  seconds: float  # NaN: not measured
  regret: float  # the oracle's reward minus this policy's
  gain: float  # this policy's reward minus the best fixed fraction's
  gain_error: float  # half of the 95 % interval of `gain`, over paired prompts
  choice: policy.Choice | None  # for policies that see signals


def run(
    table: trials.Table, cost: float, rng: np.random.Generator
) -> dict[str, Outcome]:
  """Trains on a random half of the prompts and evaluates on the other half.

  The outcomes include controls: a policy trained with the signals of other
  prompts, and the choices of 'full feedback' assigned to prompts at random,
  which have the same mean length.

  Args:
    cost: the cost of a full prefix, in the unit of the scores.
    rng: chooses the halves, the controls and the samples of REINFORCE.
  """
  progress = tqdm.tqdm(
      table.prompts, 'signals', delay=1, leave=False, disable=None
  )
  features = np.array([policy.features(tokens) for tokens in progress])
  rewards = table.rewards(cost)
  train, test = np.array_split(rng.permutation(len(features)), 2)
  choices = _learn(features[train], rewards[train], table.fractions, rng)
  chosen = {name: c.actions(features[test]) for name, c in choices.items()}
  fixed = np.full(len(test), rewards[train].mean(axis=0).argmax())
  chosen = {
      'best fixed': fixed,
      **chosen,
      'lengths shuffled': rng.permutation(chosen['full feedback']),
      'oracle': rewards[test].argmax(axis=1),
  }
  return {
      name: _outcome(table, rewards, test, actions, fixed, choices.get(name))
      for name, actions in chosen.items()
  }


def _learn(features, rewards, fractions, rng):
  """Returns a `Choice` by name."""
  mean, std = features.mean(axis=0), features.std(axis=0)
  scale = np.where(std > 1e-9, std, 1.0)  # constant features stay 0
  x = policy.scaled(features, mean, scale)
  # Rewards are scaled, as scores can have any unit. A choice changes a reward
  # only within its row.
  unit = np.ptp(rewards, axis=1).max() or 1.0
  weights = {
      'supervised': bandit.supervised(x, rewards),
      'full feedback': bandit.full_feedback(x, rewards / unit),
      # REINFORCE sees one reward at a time, and not how hard a prompt is.
      'reinforce': bandit.reinforce(x, rewards / (np.ptp(rewards) or 1.0), rng),
      'signals shuffled': bandit.full_feedback(
          rng.permutation(x), rewards / unit
      ),
  }
  return {
      name: policy.Choice(fractions, mean, scale, w)
      for name, w in weights.items()
  }


def _outcome(table, rewards, rows, actions, fixed, choice):
  reward = rewards[rows, actions]
  gain = reward - rewards[rows, fixed]
  return Outcome(
      reward=reward.mean(),
      score=table.scores[rows, actions].mean(),
      fraction=float(table.fractions[actions].mean()),
      seconds=table.seconds[actions].mean(),
      regret=(rewards[rows].max(axis=1) - reward).mean(),
      gain=gain.mean(),
      gain_error=1.96 * gain.std() / np.sqrt(len(gain)),
      choice=choice,
  )
