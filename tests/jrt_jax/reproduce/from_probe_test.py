import pytest

from jrt_jax.evaluation.synthetic import probes
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import from_probe


def probe(low):
  return probes.Probe(
      'Dice',
      lambda rng: {('fair', 'six'): rng.random() < 0.5, ('fair', 'F'): 16},
      lambda figures: [
          probes.Expectation('six', figures['fair', 'six'], low=low)
      ],
  )


def measured(seeds):
  jobs = seeds.plan(exhibit.Request('cpu'), {})
  return {
      job.name: exhibit.Done(job.settings, seeds.measure(job.settings, None))
      for job in jobs
  }


def test_a_probe_has_a_job_for_each_seed_and_estimates_over_them():
  seeds = from_probe.Seeds(probe(0))
  results = measured(seeds)
  assert len(results) == from_probe.SEEDS['cpu']
  values = seeds.values(results)['fair', 'six']
  assert {*values} == {0, 1}  # seeds draw differently
  percent, width = (
      seeds.cells(results, ['fair'], ['six'], from_probe.percentage)['fair'][0],
      seeds.cells(results, ['fair'], ['F'])['fair'][0],
  )
  assert percent.estimate == pytest.approx(100 * values.mean())
  assert 0 <= percent.low < percent.high <= 100
  assert (width.estimate, width.n) == (16, len(values))
  assert not seeds.broken(results)


def test_what_was_expected_and_is_not_so_is_told():
  seeds = from_probe.Seeds(probe(2))
  (line,) = seeds.broken(measured(seeds))
  assert line.startswith('six is 0.') and line.endswith(', not >= 2')
