"""What probes share: the tables, the ranges and the JSON."""

import json

import numpy as np

from jrt_jax.evaluation.synthetic import probes


def make_probe(**bounds):
  return probes.Probe(
      'A question',
      lambda rng: {},
      lambda figures: [
          probes.Expectation(
              'a is as it should be', figures['a', 'n'], **bounds
          )
      ],
  )


MEASURED = [{('a', 'n'): 0.5, ('b', 'n'): 2}, {('a', 'n'): 0.7, ('b', 'n'): 2}]


def test_the_mean_over_seeds_must_lie_in_the_range():
  for bounds, holds in (
      ({'low': 0.59}, True),
      ({'low': 0.61}, False),
      ({'high': 0.61}, True),
      ({'low': 0.0, 'high': 0.59}, False),
      ({'low': 0.6, 'high': 0.6}, True),
  ):
    result = probes.summarize(make_probe(**bounds), MEASURED)
    assert result.holds() == holds


def test_an_expectation_of_nan_does_not_hold():
  assert not probes.Expectation('', np.array([np.nan]), low=0).holds()


def test_the_report_has_means_spreads_and_what_was_expected():
  result = probes.summarize(make_probe(low=0.61), MEASURED)
  assert probes.report(result).splitlines() == [
      'A question',
      '',
      '   n',
      'a  0.600 ± 0.100',
      'b  2',
      '',
      'expectation           measured       expected  holds',
      'a is as it should be  0.600 ± 0.100  >= 0.61   NO',
  ]


def test_rows_with_other_columns_have_a_table_of_their_own():
  measured = [{('a', 'x'): 1, ('a', 'y'): 2, ('b', 'z'): 3e-7}]
  result = probes.Result('', *probes.summarize(make_probe(), [MEASURED[0]])[1:])
  result = result._replace(
      figures={k: np.array([v]) for k, v in measured[0].items()}
  )
  tables = probes.report(result).split('\n\n')[1:3]
  assert tables == ['   x  y\na  1  2', '   z\nb  3e-07']


def test_json_has_the_figures_of_each_seed():
  result = probes.summarize(make_probe(low=0.1, high=0.9), MEASURED)
  assert json.loads(json.dumps(probes.to_json(result))) == {
      'figures': {'a': {'n': [0.5, 0.7]}, 'b': {'n': [2, 2]}},
      'expectations': [
          {
              'what': 'a is as it should be',
              'values': [0.5, 0.7],
              'expected': '>= 0.1, <= 0.9',
              'holds': True,
          }
      ],
  }
