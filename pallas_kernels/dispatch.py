"""Chooses the implementation of an operation, and logs why.

An implementation raises NotImplementedError with a reason for inputs that it
does not support; then the next one is tried. The implementation that runs, and
the reasons of those before it, are logged once at level INFO.
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
  """Returns the result of the first implementation that supports the inputs.

  Args:
    operation: the name of the operation, for the log.
    implementations: all implementations, by name.
    names: one name, or names to try in order.
    *args: arguments for the implementation.
    unfit: reasons not to try an implementation, by its name.
    **kwargs: keyword arguments for the implementation.

  Raises:
    ValueError: a name is unknown.
    NotImplementedError: every named implementation refused the inputs; the
      message has the reasons.
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
