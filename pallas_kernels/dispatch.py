"""Chooses which implementation of an operation runs, and says why.

An implementation refuses inputs that it cannot take by raising
NotImplementedError with the reason; the next one is tried. What ran, and why
those before it did not, is logged at level INFO, once.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import logging
from typing import Any

_log = logging.getLogger(__name__)


def run(
    operation: str,
    implementations: Mapping[str, Callable[..., Any]],
    names: str | Sequence[str],
    *args: Any,
    unfit: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Any:
  """Returns the result of the first implementation that takes the inputs.

  Args:
    operation: its name, for the log.
    implementations: what there is.
    names: one name, or names to try in order.
    *args: given to the implementation.
    unfit: reasons not to try an implementation, by its name.
    **kwargs: given to the implementation.

  Raises:
    ValueError: a name is unknown.
    NotImplementedError: every named implementation refused; with the reasons.
  """
  if isinstance(names, str):
    names = (names,)
  for name in names:
    if name not in implementations:
      raise ValueError(
          f'implementation must be one of {sorted(implementations)}, got'
          f' {name!r}'
      )
  unfit, refusals = unfit or {}, []
  for name in names:
    try:
      if name in unfit:
        raise NotImplementedError(unfit[name])
      result = implementations[name](*args, **kwargs)
    except NotImplementedError as e:
      refusals.append(f'{name}: {e}')
      continue
    _tell(operation, name, '; '.join(refusals))
    return result
  raise NotImplementedError('no implementation: ' + '; '.join(refusals))


@functools.cache
def _tell(operation, name, refusals):
  _log.info('%s runs %s%s', operation, name, refusals and f', not {refusals}')
