"""Chooses which implementation of an operation runs, and says why.

An implementation refuses inputs that it cannot take by raising
NotImplementedError with the reason; the next one is tried.
"""

from collections.abc import Callable, Mapping, Sequence
import logging
from typing import Any

_log = logging.getLogger(__name__)


def run(
    implementations: Mapping[str, Callable[..., Any]],
    names: str | Sequence[str] | None,
    *args: Any,
    **kwargs: Any,
) -> Any:
  """Returns the result of the first implementation that takes the inputs.

  Args:
    implementations: what there is, in the order of preference.
    names: one name, names to try in order, or None to try all.
    *args: given to the implementation.
    **kwargs: given to the implementation.

  Raises:
    ValueError: a name is unknown.
    NotImplementedError: every named implementation refused; with the reasons.
  """
  if names is None:
    names = tuple(implementations)
  if isinstance(names, str):
    names = (names,)
  for name in names:
    if name not in implementations:
      raise ValueError(
          f'implementation must be one of {sorted(implementations)}, got'
          f' {name!r}'
      )
  refusals = []
  for name in names:
    try:
      result = implementations[name](*args, **kwargs)
    except NotImplementedError as e:
      refusals.append(f'{name}: {e}')
      continue
    _log.debug('ran %s; refused: %s', name, refusals or 'none')
    return result
  raise NotImplementedError('no implementation: ' + '; '.join(refusals))
