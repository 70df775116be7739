import pathlib
import re

import pytest

from configs import attention_360m
from configs import jrt_1b
from configs import jrt_360m
from jrt_jax.cost import topology
from jrt_jax.planning import budget
from jrt_jax.planning import budget_table


def make_table(gpus='8xH100', config=jrt_360m, **options):
  changes = options.pop('changes', {})
  config = config.get_config()
  config.update_from_flattened_dict(changes)
  found = budget.make(config.to_dict(), topology.parse(gpus), **options)
  return budget_table.table(found)


def test_a_table_has_the_figures_and_80_columns():
  text = make_table(price=2.5)
  assert max(map(len, text.splitlines())) <= 80
  for figure in (
      '8 x H100 (data 8, fsdp 1, sequence 1, tensor 1)',
      '356,619,264',
      '2.01B',
      '1.33 GiB',
      '5.68 MiB',
      '31.5B',
      '(predicted)',
      'from --traffic for JRT-RNN\n360M on H100s with the Hopper kernels',
      '$114',
  ):
    assert figure in text, figure


def test_a_given_utilization_is_no_prediction_and_no_price_no_cost():
  text = make_table(mfu=0.4)
  assert 'predicted' not in text and '(given)' in text and '$' not in text
  assert 'Hopper' not in text


def test_the_page_on_planning_shows_the_plan_of_360m():
  page = pathlib.Path(__file__).parents[3] / 'docs' / 'planning.md'
  assert make_table() in page.read_text()


def test_a_compiled_step_says_what_is_predicted():
  config = jrt_360m.get_config()
  config.model.implementation = 'chunked'
  config, gpus = config.to_dict(), topology.parse('8xH100')
  found = budget.make(config, gpus) | {'compiled': {}}
  found['run'] = budget.run(config, gpus, mfu=None, price=None, mfu_at_most=0.5)
  text = budget_table.table(found)
  assert '0.45 is 0.9 of the upper bound of the compiled step' in text
  assert 'at 0.45 of the peak' in text and 'Hopper' not in text
  assert 'There is no prediction' not in text and '--compile' not in text


def test_without_the_kernels_it_says_that_nothing_is_predicted():
  nothing = 'There is no prediction for chunked'
  assert nothing in make_table('8xA100')
  for key, value in {
      'model.implementation': 'chunked',
      'model.dtype': 'float32',
  }.items():
    assert nothing in make_table(changes={key: value}), key
  assert nothing not in make_table(changes={'data.packing': 'documents'})
  assert nothing not in make_table()
  assert nothing not in make_table(config=attention_360m)


def test_it_says_that_the_kernels_have_to_be_right():
  if_right = 'The run uses the kernels if they pass their check'
  assert if_right in make_table()
  for name in ('mosaic_sm90', 'mosaic_sm90_or_chunked'):
    assert if_right not in make_table(changes={'model.implementation': name})
  assert if_right not in make_table(config=attention_360m)


@pytest.mark.parametrize(
    'price, steps, hours, cost',
    [
        (2.5, 60_000, '52.2', '$130'),
        (2.5, 60_000_000, '52,159', '$130,397'),
        (2.5, 60, '0.0522', '$0.13'),
        (2.5, 1, '< 0.01', '< $0.01'),
        (0.0, 60_000, '52.2', '$0.00'),
    ],
)
def test_hours_and_cost_are_numbers_that_people_read(price, steps, hours, cost):
  text = make_table(mfu=0.34, price=price, changes={'steps': steps})
  assert re.search(rf'^GPU-hours +{re.escape(hours)}$', text, re.MULTILINE)
  assert re.search(rf'^cost +{re.escape(cost)}$', text, re.MULTILINE)


def test_a_cache_that_is_smaller_than_the_state_is_so_by_a_fraction():
  wide = {'model.mixers': ('pla',), 'model.feature_map.feature_dim': 128}
  text = make_table(changes=wide)
  assert re.search(r'^2,048 tokens .* \(0\.24 x\)$', text, re.MULTILINE)


def test_what_does_not_fit_is_said_with_what_would_help():
  wide = {'model.mlp_width': 2**16}
  text = make_table('8xA100-40GB', jrt_1b, changes=wide)
  assert 'does not fit' in text and '--config.mesh.fsdp' in text
  assert max(map(len, text.splitlines())) <= 80
  assert 'does not fit' not in make_table('8xA100-40GB')


def test_it_says_which_microbatch_fits_with_each_policy():
  text = make_table()
  assert re.search(r'^none +1 x 32 +5\d GiB$', text, re.MULTILINE)
  assert re.search(r'^full +1 x 32 +at least 1\d\.\d GiB$', text, re.MULTILINE)
  long = {'sequence_length': 2**17, 'batch_size': 8}
  text = make_table('8xA100-40GB', changes=long)
  assert re.search(r'^none +none +1 takes \d+ GiB$', text, re.MULTILINE)


def test_the_peak_is_not_that_of_float32():
  changes = {'model.dtype': 'float32'}
  assert 'float32 is slower' in make_table(changes=changes)
  assert 'slower' not in make_table()


def test_weights_shared_between_nodes_are_warned_of():
  between = {'mesh.fsdp': 16}
  assert 'among nodes' in make_table('2x8xH100', changes=between)
  straddling = {'mesh.fsdp': 4, 'batch_size': 288}
  assert 'among nodes' in make_table('2x6xH100', changes=straddling)
  assert 'among nodes' not in make_table('2x8xH100')
  assert make_table('2x8xH100').startswith('2 x 8 x H100')
