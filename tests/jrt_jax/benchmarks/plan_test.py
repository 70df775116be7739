import dataclasses

import pytest

from jrt_jax.benchmarks import plan
from jrt_jax.benchmarks import worker


def test_every_row_measures_an_existing_model_with_keys_that_it_has():
  for row in (*plan.GPU, *plan.CPU):
    config = plan.config(row)
    assert row.what in worker.MEASUREMENTS
    assert config['sequence_length'] == row.work['sequence_length']


@pytest.mark.slow
def test_every_row_of_the_plans_can_be_measured():
  worker.check([plan.config(row) for row in (*plan.GPU, *plan.CPU)])


def test_every_goal_of_whole_models_has_a_target_and_is_measured_first():
  goals = [row.goal for row in plan.GPU if row.target]
  assert {*goals} == {f'G{n}' for n in (14, 15, 18, 19, 20, 21, 22)}
  assert all(row.target for row in plan.GPU[: len(goals)])


def test_only_the_named_goals_are_measured():
  assert {row.goal for row in plan.select(plan.GPU, ['G14'])} == {'G14'}
  assert plan.select(plan.GPU, []) == [*plan.GPU]
  with pytest.raises(ValueError, match="--only must name .* got 'G1'"):
    plan.select(plan.GPU, ['G14', 'G1'])


def test_a_model_of_the_plan_keeps_its_rows_and_targets():
  rows = plan.of_model(plan.GPU, 'jrt_1b')
  assert rows == [row for row in plan.GPU if row.model == 'jrt_1b']


def test_another_model_does_the_work_of_every_goal_once_without_targets():
  rows = plan.of_model(plan.GPU, 'mine')
  work = [(row.what, *row.work.items()) for row in rows]
  assert len({*work}) == len(work)
  assert {*work} == {(row.what, *row.work.items()) for row in plan.GPU}
  assert {row.model for row in rows} == {'mine'}
  assert not any(row.target for row in rows)


@pytest.mark.parametrize(
    ('overrides', 'has_target'),
    [({'model.remat': 'full'}, True), ({'batch_size': 64}, False)],
)
def test_the_target_is_for_the_same_work_however_it_is_done(
    overrides, has_target
):
  row = plan.change(plan.GPU[0], overrides)
  assert (row.target is not None) == has_target
  (override,) = overrides.items()
  assert override in row.work.items()


def test_a_change_reaches_the_config_and_no_other_row():
  row = plan.change(plan.GPU[0], {'model.mixers': ('conv',), 'batch_size': 2})
  config = plan.config(row)
  assert config['model']['mixers'] == ('conv',) and config['batch_size'] == 2
  assert plan.config(plan.GPU[0])['batch_size'] == 32


@pytest.mark.parametrize(
    ('value', 'met'), [(2, 'no'), (3, 'must'), (4, 'stretch')]
)
def test_a_target_has_two_levels(value, met):
  target = plan.Target('tokens_per_second', must=3, stretch=4)
  assert target.met(value) == met
  less = dataclasses.replace(target, must=-3, stretch=-4, at_most=True)
  assert less.met(-value) == met
  assert dataclasses.replace(target, stretch=None).met(5) == 'must'
