import pathlib
import re

import pytest

from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.reproduce import charts
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import exhibits
from jrt_jax.reproduce import page
from jrt_jax.reproduce import runner
from jrt_jax.reproduce import training

EXHIBITS = exhibits.EXHIBITS
MEASURED = pathlib.Path(__file__).parents[3] / 'docs' / 'measured'
TRAINED = [n for n, x in EXHIBITS.items() if x.measure is training.train]

# Of a run of seconds, whatever its task and model are.
TINY = {
    'steps': 2,
    'batch_size': 8,
    'microbatch_per_device': 1,
    'eval_every': 1,
    'eval_batches': 1,
    'log_every': 1,
    'optimizer.warmup_steps': 1,
}


@pytest.mark.parametrize('name', EXHIBITS)
def test_every_exhibit_has_a_plan_and_says_what_its_source_took(name):
  found = EXHIBITS[name]
  jobs = found.plan(exhibit.Request('cpu'), {})
  names = [job.name for job in jobs]
  assert jobs and len({*names}) == len(names)
  assert all(re.fullmatch(r'[\w.+-]+', name) for name in names)
  paper = found.at_paper_scale()
  assert paper.note and (paper.gpu_hours is None or paper.gpu_hours > 0)
  assert found.claim.endswith('.') and found.title and found.source


@pytest.mark.parametrize('scale', exhibit.SCALES)
@pytest.mark.parametrize('name', TRAINED)
def test_samples_of_every_arm_have_room_and_enough_ids(name, scale):
  for job in EXHIBITS[name].plan(exhibit.Request(scale), {}):
    config = training.config(job.settings)
    source, settings = (config['data'][x] for x in ('source', 'synthetic'))
    for held_out in (False, True):
      split = split_lib.Split(source, settings, held_out=held_out)
      split.check_length(config['sequence_length'])


@pytest.mark.parametrize(
    'name', sorted(path.stem for path in MEASURED.glob('*.json'))
)
def test_published_results_are_those_of_the_exhibit_as_it_is(name):
  found = page.section(name, EXHIBITS[name], MEASURED)
  published = runner.read(MEASURED / f'{name}.json')
  assert found.verdict.word == published['verdict']['word']


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', [n for n, x in EXHIBITS.items() if not x.takes_minutes]
)
def test_every_exhibit_is_measured_and_shown(name, tmp_path):
  found = EXHIBITS[name]
  results = {}
  while True:
    jobs = found.plan(exhibit.Request('cpu'), results)
    if not (left := [job for job in jobs if job.name not in results]):
      break
    figures = found.measure(left[0].settings, tmp_path)
    results[left[0].name] = exhibit.Done(left[0].settings, figures)
  verdict = found.verdict(results)
  assert verdict.word in exhibit.VERDICTS and verdict.word != 'void'
  for piece in found.show(results):
    charts.check(piece)


@pytest.mark.slow
@pytest.mark.parametrize('scale', exhibit.SCALES)
@pytest.mark.parametrize('name', TRAINED)
def test_every_arm_trains_and_is_shown(name, scale, tmp_path):
  found = EXHIBITS[name]
  results, by_arm = {}, {}
  while True:
    jobs = found.plan(exhibit.Request(scale), results)
    if not (left := [job for job in jobs if job.name not in results]):
      break
    job = left[0]
    arm = job.name.split('-')[1]
    if arm not in by_arm:  # other rates and seeds compile the same
      settings = {**job.settings, 'overrides': job.settings['overrides'] | TINY}
      workdir = tmp_path / arm
      workdir.mkdir()
      by_arm[arm] = found.measure(settings, workdir)
    results[job.name] = exhibit.Done(job.settings, by_arm[arm])
  assert found.verdict(results).word in exhibit.VERDICTS
  for piece in found.show(results):
    charts.check(piece)
