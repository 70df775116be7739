import math

from flax import traverse_util
import hypothesis
from hypothesis import strategies as st
import pytest

from configs import base
from jrt_jax.benchmarks import worker
from jrt_jax.cost.feature_maps import MAPS
from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.cost.mixers import MIXERS
from jrt_jax.cost.optimizers import OPTIMIZERS
from jrt_jax.data import objectives
from jrt_jax.data import packings
from jrt_jax.data.source_table import SOURCES
from jrt_jax.data.synthetic import curriculum
from jrt_jax.data.synthetic import tasks
from jrt_jax.models import block
from jrt_jax.prefix import heuristic
from jrt_jax.prefix import policies
from jrt_jax.prefix import signals
from jrt_jax.prompting import prompts
from jrt_jax.schema import OneOf
from jrt_jax.training import optimizer
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import inputs

KEYS = traverse_util.flatten_dict(base.KEYS, sep='.')
NUMBERS = sorted(
    key
    for key, (default, _) in KEYS.items()
    if isinstance(default, int | float) and not isinstance(default, bool)
)

numbers = (
    st.sampled_from([-1, 0, 1, 10**9, 10**12, 2**33, 10**400, math.nan])
    | st.integers()
    | st.floats()
)


def small():
  config = base.get_config()
  config.model.mixers = ('conv', 'pla', 'swa')
  config.model.width = 32
  return config.to_dict()


def changed(config, changes):
  flat = traverse_util.flatten_dict(config, sep='.') | changes
  return traverse_util.unflatten_dict(flat, sep='.')


def build(config):
  """What takes numbers of a config, before any array is made."""
  worker.check([config])
  optimizer.build(config['optimizer'], config['steps'], {})
  for name in ('uniform', 'entropy'):
    prefix = config['prefix'] | {'name': name}
    policies.mean_prefix(prefix, config['sequence_length'])


def test_every_default_is_within_its_range():
  base.check(base.get_config().to_dict())


@hypothesis.settings(deadline=None, max_examples=300, derandomize=True)
@hypothesis.given(st.sampled_from(NUMBERS), numbers)
def test_any_number_is_refused_in_one_line_or_builds(key, value):
  try:
    build(changed(small(), {key: value}))
  except ValueError as error:
    assert str(error).startswith(('config', 'D=')), error
    assert '\n' not in str(error) and len(str(error)) < 300


@pytest.mark.parametrize('key', sorted(KEYS))
def test_a_key_of_another_kind_is_refused_by_its_name(key):
  wrong = {'a': 1} if isinstance(KEYS[key][0], str) else 'wrong'
  with pytest.raises(ValueError, match=f'^config.{key} must be .*, got '):
    base.check(changed(small(), {key: wrong}))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('objective.mlm_weight', -1.0),
        ('objective.mask_rate', 1.5),
        ('optimizer.warmup_steps', -5),
        ('optimizer.weight_decay', -0.1),
        ('optimizer.peak_lr', -0.001),
        ('optimizer.peak_lr', 0.0),
        ('optimizer.peak_lr', math.nan),
        ('optimizer.b1', 1.0),
        ('optimizer.b2', 1.0),
        ('optimizer.eps', 0.0),
        ('optimizer.clip_norm', -1.0),
        ('optimizer.spike_factor', -1.0),
        ('optimizer.max_bad_steps', 0),
        ('eval_every', -1),
        ('keep_every', -3),
        ('seed', 8589934592),
        ('seed', -1),
        ('steps', 0),
        ('steps', True),
        ('batch_size', 10**9),
        ('sequence_length', 10**12),
        ('microbatch_per_device', 0),
        ('mesh.data', 0),
        ('mesh.fsdp', -1),
        ('data.source', 'csv'),
        ('data.validation_fraction', 0.0),
        ('data.validation_fraction', 1.0),
        ('prefix.name', 'fixd'),
        ('prefix.capacity', 1.5),
        ('prefix.capacity', 'x'),
        ('prefix.base', 0.0),
        ('prefix.increment', math.nan),
        ('prefix.quantiles', ()),
        ('model.norm_eps', -1.0),
        ('model.norm_eps', math.nan),
        ('model.rope_base', 0.0),
        ('model.rope_fraction', -0.5),
        ('model.init_std', -1.0),
        ('model.conv_kernel', 1),
        ('model.window', 0),
        ('model.mixers', ('conv',) * 20_000),
        ('model.mixers', ()),
        ('model.normalizer', 'l2'),
        ('model.feature_map.order', 99),
    ],
)
def test_a_value_that_would_train_on_in_silence_is_refused(key, value):
  with pytest.raises(ValueError, match=f'^config.{key} must be .*, got ') as e:
    base.check(changed(small(), {key: value}))
  assert '\n' not in str(e.value) and len(str(e.value)) < 300


TABLES = {
    'model.feature_map.name': {*MAPS, 'hybrid_heads'},
    'model.normalizer': {'auto', 'output_rms', *inputs.NORMALIZERS},
    'model.implementation': {'auto', KERNELS_OR_CHUNKED}
    | {*api.IMPLEMENTATIONS},
    'model.remat': block.REMAT_POLICIES,
    'prefix.name': policies.PREFIX_POLICIES,
    'prefix.signal': signals.SIGNALS,
    'prefix.aggregate': signals.AGGREGATES,
    'prefix.growth': heuristic.GROWTHS,
    'objective.name': objectives.OBJECTIVES,
    'optimizer.name': OPTIMIZERS,
    'data.source': {**SOURCES, **tasks.TASKS},
    'data.packing': packings.PACKINGS,
    'data.synthetic.curriculum': curriculum.CURRICULA,
    # Without a table: an `if` takes them.
    'model.dtype': ('bfloat16', 'float32'),
    'model.residual_dtype': ('bfloat16', 'float32'),
    'model.pad_mask': ('exclude', 'reference'),
    'model.pla.prefix_reader': ('sum', 'ridge', 'contracted'),
    'model.gdn.prefix_passes': ('forward', 'reversed', 'both'),
    'model.pla.first_values': ('random', 'zero'),
    'data.synthetic.order': ('DQ', 'QD', 'QDQ', 'DDQ', 'DQDQ', 'QDDQ'),
    'objective.boundary': ('predict', 'reference'),
    'objective.token_zero': ('predict', 'reference'),
}


def test_the_names_that_a_key_may_have_are_those_of_its_table():
  names = {k: x.choices for k, (_, x) in KEYS.items() if isinstance(x, OneOf)}
  assert {k: {*v} for k, v in names.items()} == {
      k: {*v} for k, v in TABLES.items()
  }


def test_the_names_in_a_list_are_those_of_their_table():
  parts = KEYS['model.feature_map.parts'][1].item
  assert {*parts.choices} == MAPS.keys() - {'mixture'}
  assert {*KEYS['model.mixers'][1].item.choices} == {*MIXERS}
  assert {*KEYS['probes.prompts'][1].item.choices} == {*prompts.PROMPTS}
