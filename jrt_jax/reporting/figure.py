"""The figure that compares runs."""

from collections.abc import Sequence
from typing import NamedTuple

from jrt_jax.reporting import units
from jrt_jax.reporting.curves import EVALUATED
from jrt_jax.reporting.curves import Run


class Panel(NamedTuple):
  """How a metric is shown."""

  title: str
  unit: str
  scale: float = 1.0  # from the metric to the unit
  from_zero: bool = False
  chance: str = ''  # the metric that has the accuracy of guessing


PANELS = {
    'next_token_loss': Panel('Training loss', 'nats per next token'),
    # In place of it, if the tokenizers of the runs differ.
    'bits_per_byte': Panel('Training loss', 'bits per byte'),
    'held_out/bits_per_byte': Panel('Held-out text', 'bits per byte'),
    'held_out/recall_accuracy': Panel(
        'Recall', '% of repeated rare pairs', 100.0
    ),
    'held_out/answer_accuracy': Panel('Answers', '% correct', 100.0),
    'held_out/masked_token_accuracy': Panel(
        'Masked tokens', '% correct', 100.0
    ),
    'probe/recall_default': Panel(
        'Probes, read once',
        '% of answers recalled',
        100.0,
        from_zero=True,
        chance='probe/recall_chance',
    ),
    'probe/recall_twice': Panel(
        'Probes, read twice',
        '% of answers recalled',
        100.0,
        from_zero=True,
        chance='probe/recall_chance',
    ),
    'tokens_per_second': Panel('Throughput', 'tokens/s', from_zero=True),
}

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

# Units of training time, longest first.
TIMES = {'days': 86400, 'hours': 3600, 'minutes': 60, 'seconds': 1}


class Axis(NamedTuple):
  """A horizontal axis."""

  label: str
  field: str  # of a Curve
  unit: float = 1.0


def draw(runs: Sequence[Run], path: str, *, smooth: float = 0.1) -> None:
  """Writes a figure: a column for each metric, against tokens and time.

  Args:
    runs: the runs; a run without a metric is left out of its column.
    path: the file to write; its extension is the format.
    smooth: see `Run.smoothed`; the unsmoothed curves are drawn faintly behind.

  Raises:
    ValueError: matplotlib is missing or does not support the extension, or the
      runs have no metric to draw.
    OSError: the file cannot be written.
  """
  try:
    import matplotlib  # an extra
    from matplotlib import figure
  except ImportError as error:
    raise ValueError(
        'drawing needs the package matplotlib: pip install matplotlib'
    ) from error
  names = [n for n in PANELS if any(n in run.curves for run in runs)]
  if not names:
    raise ValueError(
        f'runs must have a metric of {", ".join(PANELS)}, got none of them'
    )
  width = max(2.8 * len(names), _entry_inches(runs))
  with matplotlib.rc_context(STYLE):
    fig = figure.Figure((width, 5.6), layout='constrained')
    grid = fig.subplots(
        2, len(names), sharex='row', sharey='col', squeeze=False
    )
    axes = Axis('training tokens', 'tokens'), _time_axis(runs)
    for row, axis in zip(grid, axes):
      _x_axis(row, axis)
      for ax, name in zip(row, names):
        _curves(ax, runs, name, axis, smooth)
    for ax, name in zip(grid[0], names):
      ax.set_title(PANELS[name].title)
    _legend(fig, runs)
    fig.savefig(path, dpi=200)


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
        fontsize=7,
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


def _legend(fig, runs):
  """Draws the legend above the panels, in as few rows as possible."""
  from matplotlib import lines

  per_row = int(fig.get_size_inches()[0] / _entry_inches(runs))
  rows = -(-len(runs) // per_row)
  fig.legend(
      [lines.Line2D([], [], **style) for style in _styles(runs)],
      [run.label for run in runs],
      loc='outside upper center',
      ncols=-(-len(runs) // rows),
  )


def _entry_inches(runs):
  """Returns the approximate width of the longest entry of the legend."""
  return 0.08 * max(len(run.label) for run in runs) + 0.7
