r"""Repeats tables and figures of the paper, and shows them on one page.

python -m jrt_jax.reproduce jrt_prompt --out=reproduced
python -m jrt_jax.reproduce all --scale=cpu --out=reproduced
python -m jrt_jax.reproduce all --scale=paper

Each NAME is a table or figure of the paper or of the student report; --list
shows all of them with their requirements. Jobs that train use all cores. Each
result is a file in --out, so that the same command continues after an
interruption; only jobs whose settings have changed run again. OUT/NAME.json has
all figures, with seeds, versions and hardware, OUT/NAME.svg has the curves, and
OUT/index.html is a page with all results in --out.

  --scale=cpu    small: at most half an hour for each NAME on two cores
  --scale=gpu    larger, for one GPU
  --scale=paper  measures nothing; prints the commands for the scale of the
                 paper or the report, and the GPU hours that they take

Exit codes: 0 if all jobs were done, 1 if some failed or could not be measured
(the other results are kept), 2 for a mistake in the command, 130 after Ctrl-C.
"""

from concurrent import futures
import os
import pathlib
import shlex
import sys

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax.reproduce import exhibit as exhibit_lib
from jrt_jax.reproduce import exhibits
from jrt_jax.reproduce import page
from jrt_jax.reproduce import runner
from jrt_jax.reproduce import workers as workers_lib
from jrt_jax.runtime import compilation_cache
from jrt_jax.runtime import folder_lock
from jrt_jax.runtime import gpus

_SCALE = flags.DEFINE_enum(
    'scale',
    'cpu',
    [*exhibit_lib.SCALES, 'paper'],
    'The size of the experiments; see above.',
)
_OUT = flags.DEFINE_string(
    'out', 'reproduced', 'The folder for the results and the page.'
)
_DATA = flags.DEFINE_string(
    'data', None, 'A folder with data that does not come with the package.'
)
_RESULTS = flags.DEFINE_string(
    'results',
    None,
    'A folder with results of jrt_jax.recall (result.json), jrt_jax.perplexity'
    ' (perplexity.json) and jrt_jax.train (metrics.jsonl). Default: the results'
    ' of configs/study.py, which come with the package.',
)
_PROCESSES = flags.DEFINE_integer(
    'processes',
    None,
    'How many jobs train at once, each on one core. Default: the number of'
    ' cores, or 1 if there is a GPU.',
    lower_bound=1,
)
_LIST = flags.DEFINE_bool(
    'list', False, 'Show all names with their requirements.'
)
_COMPILATION_CACHE = command_line.define_compilation_cache()


_MOST_PROCESSES = 8  # the largest default: each takes about a gigabyte


def main(argv: list[str]) -> None:
  names = [x for name in argv[1:] for x in name.split(',')]
  with command_line.one_line_errors():
    if _LIST.value:
      print('\n'.join(_described()))
      return
    chosen = _chosen(names)
    if _SCALE.value == 'paper':
      return _tell_what_it_takes(chosen)
    request = exhibit_lib.Request(
        _SCALE.value, _folder('--data', _DATA), _folder('--results', _RESULTS)
    )
    out = command_line.output_folder(_OUT)
    out.mkdir(parents=True, exist_ok=True)
    start = compilation_cache.turn_on if _COMPILATION_CACHE.value else None
    if start:
      start()
    with (
        folder_lock.held(out, '--out'),
        workers_lib.processes(_processes(), start=start) as workers,
    ):
      failed = _measure_all(chosen, request, out, workers)
  if failed:
    print(f'{len(failed)} failed:', *failed, sep='\n', file=sys.stderr)
    sys.exit(command_line.FAILURE)


def _processes():
  # Without jax: another process checks the kernels before jax opens the GPU.
  if _PROCESSES.value or gpus.first():
    return _PROCESSES.value or 1
  return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)


def _measure_all(chosen, request, out, workers):
  """Measures all exhibits and prints their verdicts; returns the failures."""
  failed = []
  for name, exhibit in chosen.items():
    failed += _measure(name, exhibit, request, out, workers)
    path = page.write(exhibits.EXHIBITS, out)
    verdict = page.section(name, exhibit, out).verdict
    words = exhibit_lib.VERDICTS[verdict.word]
    print(f'{name}: {words}. {verdict.sentence}\n')
  print(f'wrote {path}')
  return failed


def _measure(name, exhibit, request, out, workers):
  """Returns a line for each failure, of a job or of the whole exhibit."""
  command = _command(name, exhibit)
  try:
    return runner.run(
        name, exhibit, request, out, command=command, workers=workers
    )
  except (ValueError, FileNotFoundError) as error:  # the others go on
    return [f'not measured: {name}: {" ".join(str(error).split())}']
  except futures.BrokenExecutor:
    return [
        f'not measured: {name}: a process was killed; if memory ran out, give'
        ' --processes=1'
    ]


def _described():
  """Yields two lines for each exhibit."""
  for name, exhibit in exhibits.EXHIBITS.items():
    takes = [f'takes --{flag}' for flag in exhibit.uses]
    yield f'{name}: {exhibit.title}'
    yield '  ' + '; '.join([exhibit.source, *takes])


def _chosen(names):
  """The exhibits by name, in the order of EXHIBITS."""
  known = exhibits.EXHIBITS
  for name in names:
    if name not in known and name != 'all':
      raise ValueError(
          f'NAME must be all or one of {", ".join(known)}, got {name!r}'
      )
  return {n: x for n, x in known.items() if n in names or 'all' in names}


def _folder(argument, flag):
  """The folder of a flag; it must exist if the flag is given."""
  if flag.value is None:
    return None
  folder = pathlib.Path(flag.value).expanduser()
  if not folder.is_dir():
    raise ValueError(f'{argument} must be a folder, got {flag.value!r}')
  return folder


def _command(name, exhibit):
  """The command that measures one exhibit in the same way."""
  given = [f'--scale={_SCALE.value}']
  given += [
      f'--{flag.name}={shlex.quote(flag.value)}'
      for flag in (_DATA, _RESULTS)
      if flag.value and flag.name in exhibit.uses
  ]
  return ' '.join(['python -m jrt_jax.reproduce', name, *given])


def _tell_what_it_takes(chosen):
  for name, exhibit in chosen.items():
    takes = exhibit.at_paper_scale()
    hours = 'unknown'
    if takes.gpu_hours is not None:
      hours = f'{takes.gpu_hours:,.1f} H100 hours'
    print(f'{name}: {exhibit.title}\n  compute: {hours}\n  {takes.note}')
    print('\n'.join(f'    {line}' for line in takes.commands), end='\n\n')


def _parse(argv):
  """Parses the flags; --list needs no NAME."""
  parse = command_line.parser(arguments='NAME')
  return parse([*argv, 'all'] if '--list' in argv else argv)


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
