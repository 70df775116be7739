"""Which mixers read a key of a config: those that name it in their `settings`."""

from collections.abc import Collection
import pkgutil

MIXERS = 'jrt_jax.cost.mixers:MIXERS'  # their facts, by name


def is_read(key: str, mixers: Collection[str]) -> bool:
  """Whether a model with these mixers reads a dotted key; see `Mixer.settings`."""
  owners = of(key)
  return not owners or not {*owners}.isdisjoint(mixers)


def of(key: str) -> list[str]:
  """The only mixers that read a dotted key; empty: it is of no mixer."""
  table, name = pkgutil.resolve_name(MIXERS), key.removeprefix('model.')
  return [mixer for mixer, facts in table.items() if name in facts.settings]
