r"""Compares runs: a figure of their curves, and a table in the terminal.

python -m jrt_jax.plot --workdir=runs/jrt_360m,runs/based_360m --out=curves.png
python -m jrt_jax.plot --workdir='runs/*'

--workdir names workdirs of `jrt_jax.train`; the runs may still be going on.
Folders that are not runs are left out. If the tokenizers of the runs differ,
training losses are in bits per byte. The extension of --out chooses the format:
.png, .pdf or .svg. Needs matplotlib.
"""

import dataclasses
import glob
import os
import sys

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax.reporting import curves
from jrt_jax.reporting import figure

_WORKDIR = flags.DEFINE_list(
    'workdir', [], 'The workdirs of the runs: comma-separated globs.'
)
_OUT = flags.DEFINE_string(
    'out', 'curves.png', 'Write the figure to this file.'
)
_SMOOTH = flags.DEFINE_float(
    'smooth',
    0.1,
    'Each point of a training curve is the mean over the latest fraction of the'
    ' training up to it; this is the fraction.',
    lower_bound=0.0,
    upper_bound=1.0,
)
_LABELS = flags.DEFINE_list(
    'labels',
    [],
    'Names of the runs, in their order; default: their folders and settings.',
)
_PANELS = flags.DEFINE_list(
    'panels',
    [],
    f'Draw only these panels of {", ".join(figure.PANEL_NAMES)}; default: all'
    ' that the runs have.',
)
_AGAINST = flags.DEFINE_list(
    'against',
    list(figure.AXES),
    'Draw the curves against training tokens, training time, or both.',
)
_SIZE = flags.DEFINE_string(
    'size',
    '',
    'Size in a paper: single (3.25 inches wide), double (6.75 inches wide), or'
    ' WIDTHxHEIGHT in inches; default: as large as the panels need.',
)


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    command_line.required(_WORKDIR, 'DIR or --workdir=DIR,DIR')
    out = command_line.output_file(_OUT)
    runs = _labelled(curves.read(_workdirs(), skip=_tell))
    print(curves.table([run.smoothed(_SMOOTH.value) for run in runs]))
    figure.draw(
        runs,
        out,
        smooth=_SMOOTH.value,
        panels=_PANELS.value,
        against=_AGAINST.value,
        size=_SIZE.value,
    )
    print(f'wrote {out}')


def _labelled(runs):
  """Returns the runs with the names of --labels."""
  labels = _LABELS.value
  if not labels:
    return runs
  if len(labels) != len(runs):
    raise ValueError(
        f'--labels must have a name for each of the {len(runs)} runs, got'
        f' {len(labels)}: {", ".join(labels)}'
    )
  return [
      dataclasses.replace(run, label=label) for run, label in zip(runs, labels)
  ]


def _workdirs():
  """Returns the paths that match --workdir; a pattern itself if none does."""
  patterns = map(os.path.expanduser, _WORKDIR.value)
  matches = (
      [x] if os.path.exists(x) else glob.glob(x) or [x] for x in patterns
  )
  return [path for paths in matches for path in sorted(paths)]


def _tell(error):
  print(f'left out: {error}', file=sys.stderr)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
