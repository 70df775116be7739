"""The prefix length of a prompt, by the policy of the training run.

`signals_jrt.py` has the signals that training has used.
"""

import math

import numpy as np

from .signals_jrt import measure
from .signals_jrt import SIGNALS


def looks_at_tokens(config):
  """Whether prompts of equal length can have prefixes of different lengths."""
  return _settings(config).get('name') in POLICIES


def prefix_length(tokens, config):
  """Returns how many of int [n] tokens are prefix, for a `JrtConfig`.

  Policies that do not look at tokens return `prefix_capacity`, the maximum.
  """
  n, prefix = len(tokens), _settings(config)
  longest = min(config.prefix_capacity, n)
  if not looks_at_tokens(config):
    return longest
  room = min(round(prefix['capacity'] * config.sequence_length), n)
  return min(POLICIES[prefix['name']](tokens, room, prefix), longest)


def entropy(tokens, room, prefix):
  """Each threshold that the signal exceeds changes the prefix by a ratio."""
  limits, multiple = prefix['fitted']['thresholds'], prefix['multiple']
  u = int(np.searchsorted(limits, measure(tokens, prefix))) - len(limits) // 2
  if not prefix['reduce']:
    u = max(u, 0)
  base, r = prefix['base'] * room, prefix['increment']
  wanted = (
      base * {'linear': 1 + r * u, 'geometric': (1 + r) ** u}[prefix['growth']]
  )
  rounded = multiple * math.floor(wanted / multiple + 0.5)
  return int(np.clip(rounded, base / 4, min(2 * base, room)))


def learned(tokens, room, prefix):
  """The fraction of the prompt with the largest logit, linear in signals."""
  fractions, mean, scale, weights = (
      np.array(prefix['fitted'][name])
      for name in ('fractions', 'mean', 'scale', 'weights')
  )
  signals = [signal(tokens) for signal in SIGNALS.values()]
  features = (np.array([*signals, np.log2(max(len(tokens), 1))]) - mean) / scale
  fraction = fractions[(np.append(features, 1) @ weights).argmax()]
  return min(round(float(fraction) * len(tokens)), room)


def _settings(config):
  return (config.training or {}).get('prefix', {})


POLICIES = {'entropy': entropy, 'learned': learned}
