"""Nested dicts as flat ones with dotted keys; imports nothing.

`flax.traverse_util` does the same, but its import takes seconds.
"""

from collections.abc import Mapping
from typing import Any


def flat(nested: Mapping[str, Any], above: str = '') -> dict[str, Any]:
  """Returns the values by dotted key: {'a': {'b': 1}} → {'a.b': 1}.

  Args:
    nested: dicts in dicts; empty ones are left out.
    above: what every key begins with.
  """
  found = {}
  for key, value in nested.items():
    if isinstance(value, Mapping):
      found |= flat(value, f'{above}{key}.')
    else:
      found[f'{above}{key}'] = value
  return found


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the opposite of `flat`."""
  whole = {}
  for key, value in flat.items():
    *parts, name = key.split('.')
    inner = whole
    for part in parts:
      inner = inner.setdefault(part, {})
    inner[name] = value
  return whole
