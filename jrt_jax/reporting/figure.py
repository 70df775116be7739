"""The figure that compares runs."""

from collections.abc import Sequence
import re
from typing import NamedTuple

from jrt_jax.reporting import units
from jrt_jax.reporting.curves import EVALUATED
from jrt_jax.reporting.curves import Run


class Panel(NamedTuple):
  """How a metric is shown."""

  name: str  # by which a user chooses it
  title: str
  unit: str
  scale: float = 1.0  # from the metric to the unit
  from_zero: bool = False
  chance: str = ''  # the metric that has the accuracy of guessing


_ANSWERS = '% of answers recalled'
_CHANCE = 'probe/recall_chance'
PANELS = {
    'next_token_loss': Panel('loss', 'Training loss', 'nats per next token'),
    # In place of it, if the tokenizers of the runs differ.
    'bits_per_byte': Panel('loss', 'Training loss', 'bits per byte'),
    'held_out/bits_per_byte': Panel(
        'bits_per_byte', 'Held-out text', 'bits per byte'
    ),
    'held_out/recall_accuracy': Panel(
        'recall', 'Recall', '% of repeated rare pairs', 100.0
    ),
    'held_out/answer_accuracy': Panel('answers', 'Answers', '% correct', 100.0),
    'held_out/masked_token_accuracy': Panel(
        'masked', 'Masked tokens', '% correct', 100.0
    ),
    'probe/recall_default': Panel(
        'probe_once', 'Probes, read once', _ANSWERS, 100.0, True, _CHANCE
    ),
    'probe/recall_twice': Panel(
        'probe_twice', 'Probes, read twice', _ANSWERS, 100.0, True, _CHANCE
    ),
    'tokens_per_second': Panel(
        'throughput', 'Throughput', 'tokens/s', from_zero=True
    ),
}
PANEL_NAMES = tuple(dict.fromkeys(panel.name for panel in PANELS.values()))
AXES = 'tokens', 'time'  # names of horizontal axes

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
# Further runs have dashed and dotted lines.
COLORS = (
    '#0072B2',
    '#D55E00',
    '#009E73',
    '#CC79A7',
    '#E69F00',
    '#56B4E9',
    '#000000',
)
DASHES = ('-', '--', ':')

# Curves begin after this fraction of the shortest run: the steep fall before
# would leave little room for the rest.
BEGIN = 0.02

STYLE = {
    'font.size': 9,
    'axes.titlesize': 10,
    'axes.titleweight': 'bold',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '#e6e6e6',
    'grid.linewidth': 0.6,
    'legend.frameon': False,
    'lines.linewidth': 1.5,
    'lines.markersize': 3,
}

# The style of figures with the size of print.
PAPER_STYLE = STYLE | {
    'font.size': 7,
    'axes.titlesize': 8,
    'axes.linewidth': 0.6,
    'lines.linewidth': 1.1,
    'lines.markersize': 2.5,
    'pdf.fonttype': 42,  # embeds fonts as text, which publishers require
}
COLUMNS = {'single': 3.25, 'double': 6.75}  # inches, of a page's columns
_NARROWEST, _ROW, _LEGEND = 1.5, 1.7, 0.3  # inches, of a panel; of a legend

# Units of training time, longest first.
TIMES = {'days': 86400, 'hours': 3600, 'minutes': 60, 'seconds': 1}


class Axis(NamedTuple):
  """A horizontal axis."""

  label: str
  field: str  # of a Curve
  unit: float = 1.0


def draw(
    runs: Sequence[Run],
    path: str,
    *,
    smooth: float = 0.1,
    panels: Sequence[str] = (),
    against: Sequence[str] = AXES,
    size: str = '',
) -> None:
  """Writes a figure: a column for each metric, a row for each axis.

  Args:
    runs: the runs; a run without a metric is left out of its column.
    path: the file to write; its extension is the format.
    smooth: see `Run.smoothed`; the unsmoothed curves are drawn faintly behind.
    panels: names of `PANEL_NAMES`, in the order in which they are drawn; empty:
      all panels that a run has.
    against: names of `AXES`, a row of panels for each.
    size: a key of `COLUMNS` or WIDTHxHEIGHT in inches, with the small fonts of
      papers; empty: as large as the panels need.

  Raises:
    ValueError: matplotlib is missing or does not support the extension; a choice
      is unknown or has no room; or the runs have no metric to draw.
    OSError: the file cannot be written.
  """
  try:
    import matplotlib  # an extra
    from matplotlib import figure
  except ImportError as error:
    raise ValueError(
        'drawing needs the package matplotlib: pip install matplotlib'
    ) from error
  names = _metrics(runs, panels)
  axes = _axes(runs, against)
  shape = len(axes), len(names)
  inches = _inches(size, *shape) or (
      max(2.8 * len(names), _entry_inches(runs, STYLE)),
      2.8 * len(axes),
  )
  style = PAPER_STYLE if size else STYLE
  with matplotlib.rc_context(style):
    fig = figure.Figure(inches, layout='constrained')
    grid = fig.subplots(*shape, sharex='row', sharey='col', squeeze=False)
    for row, axis in zip(grid, axes):
      _x_axis(row, axis)
      for ax, name in zip(row, names):
        _curves(ax, runs, name, axis, smooth)
    for ax, name in zip(grid[0], names):
      ax.set_title(PANELS[name].title)
    _legend(fig, runs, style)
    fig.savefig(path, dpi=300 if size else 200)


def _metrics(runs, panels):
  """Returns the metrics to draw: those of the chosen panels, or all."""
  there = [n for n in PANELS if any(n in run.curves for run in runs)]
  if not there:
    raise ValueError(
        f'runs must have a metric of {", ".join(PANELS)}, got none of them'
    )
  if not panels:
    return there
  by_name = {PANELS[name].name: name for name in there}
  for panel in panels:
    if panel not in PANEL_NAMES:
      raise ValueError(
          f'--panels must be among {", ".join(PANEL_NAMES)}, got {panel!r}'
      )
    if panel not in by_name:
      raise ValueError(
          f'--panels must be among {", ".join(by_name)}, which the runs have,'
          f' got {panel!r}'
      )
  return [by_name[panel] for panel in dict.fromkeys(panels)]


def _axes(runs, against):
  axes = {'tokens': Axis('training tokens', 'tokens'), 'time': _time_axis(runs)}
  wrong = [name for name in against if name not in axes]
  if wrong or not against:
    raise ValueError(
        f'--against must be of {", ".join(AXES)}, got {",".join(against)!r}'
    )
  return [axes[name] for name in dict.fromkeys(against)]


def _inches(size, rows, columns):
  """Returns width and height of a figure for a paper; None without a size."""
  if not size:
    return None
  if size in COLUMNS:
    inches = COLUMNS[size], rows * _ROW + _LEGEND
  else:
    match = re.fullmatch(r'(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)', size)
    inches = tuple(map(float, match.groups())) if match else (0, 0)
    if not all(1 <= x <= 100 for x in inches):
      raise ValueError(
          f'--size must be {", ".join(COLUMNS)} or WIDTHxHEIGHT in inches, of 1'
          f' to 100, got {size!r}'
      )
  room = max(int(inches[0] / _NARROWEST), 1)
  if columns > room:
    raise ValueError(
        f'--size={size} has room for {room} panels side by side, got {columns}:'
        ' choose some with --panels'
    )
  return inches


def _time_axis(runs):
  longest = max(run.curves['step'].seconds[-1] for run in runs)
  fitting = [name for name, unit in TIMES.items() if longest >= 2 * unit]
  name = (fitting or ['seconds'])[0]
  return Axis(f'training time ({name})', 'seconds', TIMES[name])


def _x_axis(row, axis):
  for ax in row:
    ax.set_xscale('log', subs=[])
    ax.set_xlabel(axis.label)
    ax.xaxis.get_major_locator().set_params(subs=(1, 3))
    ax.xaxis.set_major_formatter(lambda x, _: units.count(x))


def _curves(ax, runs, name, axis, smooth):
  panel = PANELS[name]
  begin = BEGIN * min(getattr(r.curves['step'], axis.field)[-1] for r in runs)
  for run, style in zip(runs, _styles(runs)):
    if name not in run.curves:
      continue
    for curve, faint in (
        (run.curves[name], {'alpha': 0.3, 'linewidth': 0.6}),
        (run.smoothed(smooth).curves[name], {}),
    ):
      x = getattr(curve, axis.field)
      y = panel.scale * curve.values
      few = name.startswith(EVALUATED) and len(x) <= 20
      ax.plot(
          x[x >= begin] / axis.unit,
          y[x >= begin],
          marker='o' if few else None,
          **(style | faint),
      )
  for chance in {run.last(panel.chance) for run in runs} - {None}:
    ax.axhline(panel.scale * chance, color='#808080', linewidth=0.8)
    ax.annotate(
        'chance',
        (1, panel.scale * chance),
        xycoords=('axes fraction', 'data'),
        color='#808080',
        fontsize='small',
        ha='right',
        va='bottom',
    )
  ax.set_ylabel(panel.unit)
  ax.yaxis.set_major_formatter(lambda y, _: units.count(y))
  if panel.from_zero:
    ax.set_ylim(bottom=0)


def _styles(runs):
  return [
      {
          'color': COLORS[i % len(COLORS)],
          'linestyle': DASHES[i // len(COLORS) % len(DASHES)],
      }
      for i in range(len(runs))
  ]


def _legend(fig, runs, style):
  """Draws the legend above the panels, in as few rows as possible."""
  from matplotlib import lines

  width = fig.get_size_inches()[0]
  per_row = max(int(width / _entry_inches(runs, style)), 1)
  rows = -(-len(runs) // per_row)
  fig.legend(
      [lines.Line2D([], [], **look) for look in _styles(runs)],
      [run.label for run in runs],
      loc='outside upper center',
      ncols=-(-len(runs) // rows),
      handlelength=1.5,
  )


def _entry_inches(runs, style):
  """Returns the approximate width of the longest entry of the legend."""
  letter = 0.08 / 9 * style['font.size']
  return letter * (max(len(run.label) for run in runs) + 8)
