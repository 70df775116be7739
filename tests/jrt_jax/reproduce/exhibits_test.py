import re

import pytest

from jrt_jax.reproduce import charts
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import exhibits

EXHIBITS = exhibits.EXHIBITS


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


@pytest.mark.slow
@pytest.mark.parametrize('name', EXHIBITS)
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
