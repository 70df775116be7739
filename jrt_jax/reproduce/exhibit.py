"""The interface of exhibits: tables and figures that are measured again.

An exhibit plans jobs, measures each of them, and makes tables, curves and a
verdict about the published claim from the results. It knows neither files nor
HTML.
"""

from collections.abc import Callable, Mapping, Sequence
import math
import pathlib
from typing import Any, NamedTuple

from jrt_jax.evaluation import statistics

SCALES = ('cpu', 'gpu')  # at which exhibits are measured

# The words of verdicts, and the sentences that are shown for them.
VERDICTS = {
    'holds': 'holds at this scale',
    'partly': 'holds in part',
    'fails': 'does not hold at this scale',
    'open': 'not decided at this scale',
    'void': 'void: a control failed',
    'recomputed': 'recomputed from published figures',
    'unmeasured': 'not measured',
}

# None: not measured, or not published.
Cell = float | str | None | statistics.Estimate | statistics.Crossed


class Request(NamedTuple):
  """The flags of the user."""

  scale: str  # one of SCALES
  data: pathlib.Path | None = None  # rows and texts that are not shipped
  results: pathlib.Path | None = None  # from other commands; see `measured`


class Job(NamedTuple):
  """One measurement; its result is one file."""

  name: str  # the name of the file: letters, digits and . _ + -
  settings: Mapping[str, Any]  # JSON; everything on which the result depends


class Done(NamedTuple):
  """A job that was measured."""

  settings: Mapping[str, Any]
  figures: Mapping[str, Any]  # JSON; numbers that are not finite are None


Results = Mapping[str, Done]  # by the name of the job


class Verdict(NamedTuple):
  """Whether the claim holds in these results."""

  word: str  # one of VERDICTS
  sentence: str


class Table(NamedTuple):
  """Rows of figures; some columns are also drawn as dots on one axis."""

  columns: Sequence[str]
  rows: Mapping[str, Sequence[Cell]]  # by label
  caption: str = ''
  drawn: Sequence[str] = ()  # columns
  unit: str = ''  # the unit of the drawing
  marks: Mapping[str, float] = {}  # lines across the drawing, such as chance
  is_log: bool = False  # whether the axis of the drawing is logarithmic
  digits: int = 1


class Lines(NamedTuple):
  """Curves of numbers, or of estimates with intervals."""

  series: Mapping[str, Sequence[tuple[float, float | statistics.Estimate]]]
  x: str  # the quantity and its unit
  y: str
  caption: str = ''
  marks: Mapping[str, float] = {}  # lines across the drawing, by name
  log_x: bool = False
  log_y: bool = False


class AtPaperScale(NamedTuple):
  """The commands and the cost at the scale of the source."""

  commands: Sequence[str]
  gpu_hours: float | None  # H100 hours; None: not known
  note: str  # what the hours include, and what else is needed


class Exhibit(NamedTuple):
  """A table or a figure.

  Attributes:
    title: what is compared.
    source: where it was published.
    claim: the published claim, in words.
    plan: a function from a request and the results so far to jobs. It is called
      until all its jobs are done: later jobs may depend on earlier results.
    measure: a function from the settings of a job and a folder to figures. The
      folder is kept until the job is done, so that it can resume there after a
      kill. Other processes must be able to import the function. Figures that
      another command measured have a `provenance`: their hardware, versions,
      commit, date and command.
    show: a function from complete results to the tables and curves of the page.
    verdict: a function from complete results to a `Verdict`.
    at_paper_scale: the commands and the cost at the scale of the source.
    uses: the fields of a request on which results depend, besides the scale.
    takes_minutes: whether a job takes minutes, so that it is worth a process of
      its own. Exhibits that measure time must say False: jobs that run at the
      same time would change it.
  """

  title: str
  source: str
  claim: str
  plan: Callable[[Request, Results], Sequence[Job]]
  measure: Callable[[Mapping[str, Any], pathlib.Path], Mapping[str, Any]]
  show: Callable[[Results], Sequence[Table | Lines]]
  verdict: Callable[[Results], Verdict]
  at_paper_scale: Callable[[], AtPaperScale]
  uses: Sequence[str] = ()
  takes_minutes: bool = False


def parts(value: Cell, digits: int = 1) -> tuple[str, str]:
  """Returns the texts of a figure and of its interval; '' if there is none.

  An interval whose rounded ends equal the figure is left out.
  """
  if isinstance(value, str):
    return value, ''
  numbers = (value,)
  if isinstance(value, tuple):
    numbers = value.estimate, value.low, value.high
  known = [
      _number(x, digits) for x in numbers if x is not None and math.isfinite(x)
  ]
  if not known:
    return '–', ''
  number, *bounds = known
  if len(bounds) < 2 or {*bounds} == {number}:
    return number, ''
  return number, f'[{", ".join(bounds)}]'


def text(value: Cell, digits: int = 1) -> str:
  """Returns a figure with its interval, for a sentence."""
  return ' '.join(filter(None, parts(value, digits)))


def _number(value, digits):
  shown = f'{value:,.{digits}f}'.replace('-', '−')
  return shown.lstrip('−') if not float(f'{value:.{digits}f}') else shown
