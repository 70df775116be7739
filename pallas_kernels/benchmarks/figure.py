"""A figure of time against length, of workloads with several lengths."""

from collections.abc import Iterable, Mapping
import pathlib
from typing import Any

# Series of workloads that differ only in their length.
_SERIES = 'G6-2k', 'G6-4k', 'G6-8k', 'G6-16k', 'G1'


def draw(rows: Iterable[Mapping[str, Any]], path: pathlib.Path) -> None:
  """Writes a figure of forward times.

  Args:
    rows: results; other workloads are left out.
    path: the PNG file.

  Raises:
    ImportError: matplotlib is missing.
    ValueError: nothing was timed at two lengths.
  """
  from matplotlib import figure  # needs an extra

  curves = curves_of(rows)
  if not curves:
    raise ValueError('nothing was timed at two lengths')
  fig = figure.Figure((6.4, 4.4), layout='constrained')
  ax = fig.subplots()
  for name, points in curves.items():
    ax.loglog(*zip(*points), marker='o', markersize=3, label=name)
  lengths = sorted({L for points in curves.values() for L, _ in points})
  ax.set_xticks(lengths, [f'{L:,}' for L in lengths], minor=False)
  ax.minorticks_off()
  ax.set_xlabel('tokens, half of them prefix')
  ax.set_ylabel('ms, forward')
  ax.grid(color='#e6e6e6', linewidth=0.6)
  ax.legend(frameon=False)
  fig.savefig(path, dpi=200)


def curves_of(
    rows: Iterable[Mapping[str, Any]],
) -> dict[str, list[tuple[int, float]]]:
  """Lengths and milliseconds by implementation, if there are two or more."""
  curves = {}
  for row in rows:
    workload = row.get('workload', '')
    in_series = workload in _SERIES or workload.startswith('cpu forward ')
    if in_series and 'ms' in row:
      point = row['shape']['L'], row['ms']
      curves.setdefault(row['implementation'], []).append(point)
  return {n: sorted(points) for n, points in curves.items() if len(points) > 1}
