import pytest

from configs import based_360m
from configs import jrt_360m
from jrt_jax import cost
from jrt_jax.cost import estimate


@pytest.mark.parametrize(
    ('module', 'prefix', 'supervised'),
    [(jrt_360m, 0.5, 0.5 + 0.5 * 0.15), (based_360m, 0.0, 1.0)],
)
def test_flops_count_the_positions_that_have_labels(module, prefix, supervised):
  config = module.get_config().to_dict()
  parts = cost.train_flops(
      config['model'],
      sequence_length=2048,
      prefix_fraction=prefix,
      supervised_fraction=supervised,
  )
  assert estimate.flops_per_token(config) == sum(parts.values())


def test_flops_count_the_documents_that_are_read_apart(run_config):
  """Each of them is a reading of the prefix, in `pla` layers."""
  one, two, three = (
      estimate.flops_by_part(run_config(data__documents_in_prefix=documents))
      for documents in (0, 2, 3)
  )
  assert one | {'pla': 0} == two | {'pla': 0}
  assert one['pla'] < two['pla'] < three['pla']


def test_training_takes_twice_as_long_as_its_products(run_config):
  config = run_config()
  rate = 2 * estimate.flops_per_token(config)
  assert estimate.tokens_per_second(config, rate) == pytest.approx(1)
  assert estimate.tokens(config) == 6 * 8 * 16  # steps x B x L
