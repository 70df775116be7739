"""One HTML page of all exhibits, and curves as pictures.

The page needs no script and no other file, and prints well.
"""

from collections.abc import Mapping
import pathlib
from typing import Any, NamedTuple

import jinja2

from jrt_jax.reporting import units
from jrt_jax.reproduce import charts
from jrt_jax.reproduce import compute
from jrt_jax.reproduce import exhibit as exhibit_lib
from jrt_jax.reproduce import runner

_MARKS = (  # shapes of series, which print without colour
    'M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z',
    'M0,-5L5,0L0,5L-5,0z',
    'M-3.6,-3.6h7.2v7.2h-7.2z',
    'M0,-5L4.6,3.6H-4.6z',
    'M0,5L4.6,-3.6H-4.6z',
    'M-4,-1.3h8v2.6h-8z',
)


# The errors of code that looks for figures which do not exist.
_OTHER_FIGURES = (ArithmeticError, AttributeError, LookupError, TypeError)
_OTHER_FIGURES += (ValueError,)


_VERSIONS = 'jrt_jax', 'jax', 'torch', 'python'


class Section(NamedTuple):
  """The content of the page for an exhibit."""

  name: str
  exhibit: exhibit_lib.Exhibit
  verdict: exhibit_lib.Verdict
  pieces: list[Any]  # Table or Lines
  run: Mapping[str, Any] | None  # how the exhibit was measured
  paper: exhibit_lib.AtPaperScale


def write(
    exhibits: Mapping[str, exhibit_lib.Exhibit], out: pathlib.Path
) -> pathlib.Path:
  """Writes `OUT/index.html` with all results of `runner.run` in OUT.

  `OUT/NAME.svg` has the first curves of an exhibit, for other pages.

  Raises:
    ValueError: a file in OUT has another content.
  """
  sections = [section(name, x, out) for name, x in exhibits.items()]
  path = out / 'index.html'
  path.write_text(render(sections))
  for found in sections:
    curves = [x for x in found.pieces if isinstance(x, exhibit_lib.Lines)]
    file = out / f'{found.name}.svg'
    if curves:
      file.write_text(picture(curves[0]))
    else:
      file.unlink(missing_ok=True)
  return path


def section(
    name: str, exhibit: exhibit_lib.Exhibit, out: pathlib.Path
) -> Section:
  """Returns the section of an exhibit, measured or not.

  Figures of another version of the exhibit are ignored.

  Raises:
    ValueError: the file of its results has another content.
  """
  paper = exhibit.at_paper_scale()
  command = f'python -m jrt_jax.reproduce {name} --scale=cpu'
  found = runner.read(out / f'{name}.json')
  if found is None:
    verdict = exhibit_lib.Verdict('unmeasured', f'To measure it: {command}.')
    return Section(name, exhibit, verdict, [], None, paper)
  try:
    results = runner.results(found['jobs'])
    verdict, pieces = exhibit.verdict(results), [*exhibit.show(results)]
    for piece in pieces:
      charts.check(piece)
  except _OTHER_FIGURES as error:
    words = f'{name}.json has other figures ({_kind(error)}): {command}'
    verdict = exhibit_lib.Verdict('unmeasured', f'{words} measures it again.')
    return Section(name, exhibit, verdict, [], None, paper)
  return Section(name, exhibit, verdict, pieces, _run(found), paper)


def render(sections: list[Section]) -> str:
  """Returns the page."""
  return _environment().get_template('page.html').render(sections=sections)


def picture(lines: exhibit_lib.Lines) -> str:
  """Returns curves as an SVG file."""
  return _environment().get_template('figure.svg').render(lines=lines)


def _environment():
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
      autoescape=True,
      trim_blocks=True,
      lstrip_blocks=True,
      undefined=jinja2.StrictUndefined,
  )
  environment.filters |= {
      'parts': exhibit_lib.parts,
      'text': exhibit_lib.text,
      'hours': _hours,
  }
  environment.globals |= {
      'kind': lambda piece: type(piece).__name__,
      'verdicts': exhibit_lib.VERDICTS,
      'interval': charts.interval,
      'dots_axis': charts.dots_axis,
      'plot': charts.plot,
      'shape': lambda i: _MARKS[i % len(_MARKS)],
      'peak': compute.PEAK,
  }
  return environment


def _kind(error):
  return ' '.join(f'{type(error).__name__} {error}'.split())[:100]


def _run(found):
  """How an exhibit was measured, from its records."""
  jobs = found['jobs']
  distinct = lambda of: ', '.join(dict.fromkeys(filter(None, map(of, jobs))))
  return {
      'scale': found['scale'],
      'commands': [
          found['command'],
          *dict.fromkeys(job['command'] for job in jobs if 'command' in job),
      ],
      'hardware': distinct(lambda job: job['hardware']),
      'commit': distinct(lambda job: job.get('commit')),
      'date': distinct(_day),
      'jobs': len(jobs),
      'took': units.duration(sum(job['seconds'] for job in jobs)),
      'versions': distinct(_versions),
  }


def _day(job):
  return job['date'].partition('T')[0]


def _versions(job):
  versions = job.get('versions', {})
  return ', '.join(
      f'{name} {versions[name]}' for name in _VERSIONS if name in versions
  )


def _hours(hours):
  return f'{hours:,.0f}' if hours >= 10 else f'{hours:.2g}'
