"""What computes the operation, and which of it is tried where none is named."""

from collections.abc import Callable, Sequence
import pkgutil
from typing import Any, TYPE_CHECKING

from pallas_kernels.prefix_linear_attention import chunked
from pallas_kernels.prefix_linear_attention import chunked_sums
from pallas_kernels.prefix_linear_attention import mosaic_sm90_devices
from pallas_kernels.prefix_linear_attention import mosaic_sm90_widths
from pallas_kernels.prefix_linear_attention import reference

if TYPE_CHECKING:  # at run time, it would import the kernels
  from pallas_kernels.prefix_linear_attention.mosaic_sm90_tiles import Tiles


def _imported_late(name: str) -> Callable[..., Any]:
  """A function of `mosaic_sm90`, imported where it is called.

  The import takes half as long as that of jax, and only Hopper GPUs need it.
  """
  return lambda *args, **kwargs: pkgutil.resolve_name(
      f'{__package__}.mosaic_sm90:{name}'
  )(*args, **kwargs)


IMPLEMENTATIONS = {
    'chunked': chunked.chunked,
    'mosaic_sm90': _imported_late('mosaic_sm90'),
    'reference': reference.reference,
}

# How they add up keys and values without any outputs.
SUMS = {
    'chunked': chunked_sums.sums,
    'mosaic_sm90': _imported_late('sums'),
    'reference': reference.sums,
}

# Implementations that are tried if none is named.
_DEFAULT = ('mosaic_sm90', 'chunked')


def names(implementation: str | Sequence[str] | None) -> tuple[str, ...]:
  """The implementations to try, in order."""
  if isinstance(implementation, str):
    return (implementation,)
  return _DEFAULT if implementation is None else tuple(implementation)


def unfit(implementation: str | Sequence[str] | None, V: int) -> dict[str, str]:
  """Reasons to skip an implementation, unless the user named only that one.

  With a single name, kernels can be traced on a CPU to be compiled elsewhere.
  """
  if isinstance(implementation, str):
    return {}
  if implementation is None:
    reason = mosaic_sm90_devices.unproven(
        mosaic_sm90_widths.value_width(V) or V
    )
  else:
    reason = mosaic_sm90_devices.no_gpu()
  return {'mosaic_sm90': reason} if reason else {}


def given_tiles(
    tiles: 'Tiles | None',
    implementation: str | Sequence[str] | None,
) -> dict[str, 'Tiles']:
  """Options of the implementation that is named; ValueError if it has none."""
  if tiles is None:
    return {}
  if implementation != 'mosaic_sm90':
    raise ValueError(
        "tiles must be given with implementation='mosaic_sm90' only, got"
        f' {implementation!r}'
    )
  return {'tiles': tiles}
