r"""Compares runs: a figure of their curves, and a table in the terminal.

python -m jrt_jax.plot runs/jrt_360m runs/based_360m --out=curves.png

Each RUN is a workdir of `jrt_jax.train`; the run may still be going on. Folders
that are not runs are left out. If the tokenizers of the runs differ, training
losses are in bits per byte. The extension of --out chooses the format: .png,
.pdf or .svg. Needs matplotlib.
"""

import sys

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax.reporting import curves
from jrt_jax.reporting import figure

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


def main(argv: list[str]) -> None:
  with command_line.one_line_errors():
    out = command_line.output_file('--out', _OUT.value)
    runs = curves.read(argv[1:], skip=_tell)
    print(curves.table([run.smoothed(_SMOOTH.value) for run in runs]))
    figure.draw(runs, out, smooth=_SMOOTH.value)
    print(f'wrote {out}')


def _tell(error):
  print(f'left out: {error}', file=sys.stderr)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser(arguments='RUN'))
