"""What a table or figure of the sources is made of, and what is shown of it.

An exhibit plans jobs, measures each of them, and says of the results what they
look like and whether the claim holds. It knows neither files nor HTML.
"""

from collections.abc import Callable, Mapping, Sequence
import math
import pathlib
from typing import Any, NamedTuple

from jrt_jax.evaluation import statistics

SCALES = ('cpu', 'gpu')  # at which exhibits are measured

# What results say of a claim, by the word that a verdict has.
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
  """What the user has asked for."""

  scale: str  # of SCALES
  data: pathlib.Path | None = None  # rows and texts that are not shipped
  results: pathlib.Path | None = None  # of other commands; see `measured`


class Job(NamedTuple):
  """One measurement, whose result is one file."""

  name: str  # of the file: letters, digits and . _ + -
  settings: Mapping[str, Any]  # JSON; all that its result depends on


class Done(NamedTuple):
  """A job that was measured."""

  settings: Mapping[str, Any]
  figures: Mapping[str, Any]  # JSON; not finite numbers are None


Results = Mapping[str, Done]  # by the name of the job


class Verdict(NamedTuple):
  """Whether the claim holds, as far as the results go."""

  word: str  # of VERDICTS
  sentence: str


class Table(NamedTuple):
  """Rows of figures; some of their columns are drawn as dots on one axis."""

  columns: Sequence[str]
  rows: Mapping[str, Sequence[Cell]]  # by their label
  caption: str = ''
  drawn: Sequence[str] = ()  # columns
  unit: str = ''  # of what is drawn
  marks: Mapping[str, float] = {}  # lines across the drawing, as chance
  is_log: bool = False  # the axis of the drawing
  digits: int = 1


class Lines(NamedTuple):
  """Curves, of numbers or of estimates with their intervals."""

  series: Mapping[str, Sequence[tuple[float, float | statistics.Estimate]]]
  x: str  # what it is, and its unit
  y: str
  caption: str = ''
  marks: Mapping[str, float] = {}  # lines across, by their name
  log_x: bool = False
  log_y: bool = False


class AtPaperScale(NamedTuple):
  """What it takes to do it as the source has."""

  commands: Sequence[str]
  gpu_hours: float | None  # of an H100; None: not known
  note: str  # what the hours are of, and what else is needed


class Exhibit(NamedTuple):
  """A table or a figure.

  Attributes:
    title: what is compared.
    source: where it was published.
    claim: what the source says, in words.
    plan: the jobs, from a request and the results so far. It is asked again
      until all that it names is there: later jobs may depend on earlier ones.
    measure: figures, from the settings of a job and a folder of its own, which
      is kept until they are there: what is in it after a kill can be resumed.
      Other processes can import it.
      Figures of others have a `provenance`: their hardware, versions, commit,
      date and command.
    show: what the page has of complete results.
    verdict: what they say of the claim.
    at_paper_scale: what it would take.
    uses: fields of a request that results depend on, besides the scale.
    takes_minutes: whether a job does, so that a process of its own is worth its
      start. Times are never measured so: other jobs would change them.
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
  """Returns a figure as it is shown, and its interval; '' if there is none.

  An interval that would show the same number twice more is none.
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
  """Returns a figure with its interval, as a sentence has it."""
  return ' '.join(filter(None, parts(value, digits)))


def _number(value, digits):
  shown = f'{value:,.{digits}f}'.replace('-', '−')
  return shown.lstrip('−') if not float(f'{value:.{digits}f}') else shown
