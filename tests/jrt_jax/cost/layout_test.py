import pytest

from configs import jrt_tiny
from jrt_jax import cost
from jrt_jax.cost import layout
from jrt_jax.cost.weight import OUT
from jrt_jax.cost.weight import Weight


def make_mesh(**sizes):
  return dict.fromkeys(layout.AXES, 1) | sizes


@pytest.mark.parametrize(
    'batch_size, microbatch, data, expected',
    [
        (256, 8, 8, 4),  # the paper's 360M run
        (256, 8, 1, 32),
        (16, 8, 2, 1),
        (4, 8, 2, 1),  # smaller than what fits at once: 2 on each device
        (2, 8, 1, 1),
    ],
)
def test_accumulation_follows_from_batch_devices_and_microbatch(
    batch_size, microbatch, data, expected
):
  mesh = make_mesh(data=data)
  assert layout.check_batch(batch_size, microbatch, mesh) == expected


@pytest.mark.parametrize(
    'batch_size, microbatch, data, message',
    [
        (
            100,
            8,
            4,
            r'multiple of 32 \(4 parts x 8 .* got 100; .* 96 or 128$',
        ),
        (12, 8, 8, r'multiple of 8 \(8 parts x 1 .* got 12; .* 8 or 16$'),
        (3, 8, 8, r'multiple of 8 \(8 parts x 1 .* got 3; nearest: 8$'),
        (0, 8, 2, r'config\.batch_size .* got 0; nearest: 2$'),
    ],
)
def test_a_batch_that_does_not_divide_is_refused_with_what_would(
    batch_size, microbatch, data, message
):
  with pytest.raises(ValueError, match=message):
    layout.check_batch(batch_size, microbatch, make_mesh(data=data))


@pytest.mark.parametrize(
    'sizes, message',
    [
        (dict(tensor=4), r'mesh\.tensor must divide config.model.num_heads=2'),
        (
            dict(fsdp=4),
            r'mesh\.fsdp must divide 18, .* of embedding\.embedding \[24,',
        ),
    ],
)
def test_a_model_that_a_mesh_cannot_share_is_refused(sizes, message):
  weights = {'embedding.embedding': Weight((24, 18), OUT)}
  with pytest.raises(ValueError, match=message):
    model = {
        'mixers': ('conv', 'swa'),
        'num_heads': 2,
        'feature_map': {'name': 'taylor_exp'},
    }
    layout.check_model(model, weights, make_mesh(**sizes))


def test_devices_must_share_each_group_of_hybrid_heads():
  feature_map = dict(name='hybrid_heads', parts=('relu', 'gelu'), heads=(3, 1))
  model = dict(mixers=('la',), num_heads=4, feature_map=feature_map)
  mesh = make_mesh(tensor=2)
  with pytest.raises(ValueError, match=r'each of .*heads=\(3, 1\), got 2'):
    layout.check_model(model, {}, mesh)
  layout.check_model(
      model
      | {'num_heads': 8}
      | {'feature_map': feature_map | {'heads': (6, 2)}},
      {},
      mesh,
  )


@pytest.mark.parametrize('mixer', ['conv', 'gdn', 'mamba2'])
def test_only_heads_that_a_layer_has_are_divided(tiny_config, mixer):
  model = tiny_config(mixers=(mixer,), num_heads=1)
  weights, two = cost.weights(model), make_mesh(tensor=2)
  layout.check_model(model, weights, two)
  with pytest.raises(ValueError, match='must divide config.model.num_heads=1'):
    layout.check_model(model | {'mixers': (mixer, 'swa')}, weights, two)


def test_a_device_has_its_share_of_what_is_divided_and_all_norms(tiny_config):
  weights = cost.weights(tiny_config(mixers=('swa',)))
  norms = 3 * 16
  rest = layout.num_own(weights, make_mesh()) - norms
  for mesh, parts in (
      (make_mesh(data=4), 1),
      (make_mesh(fsdp=2), 2),
      (make_mesh(data=2, fsdp=2, tensor=2), 4),
  ):
    assert layout.num_own(weights, mesh) == norms + rest / parts


def check_rows(sequence, **changes):
  config = jrt_tiny.get_config()
  config.update_from_flattened_dict(
      {'sequence_length': 96, 'model.window': 8, **changes}
  )
  layout.check_rows(config.to_dict(), make_mesh(sequence=sequence))


def test_rows_are_divided_into_equal_parts():
  check_rows(8)
  with pytest.raises(ValueError, match=r'sequence_length=96, got 7$'):
    check_rows(7)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'model.window': 14}, r'model\.window must be at most 13 with .* 14$'),
        ({'model.sinks': 2}, r'model\.sinks must be 0 .*sequence=8, got 2$'),
        (
            {'data.documents_in_prefix': 2},
            r'documents_in_prefix must be 0 with .*sequence=8, got 2$',
        ),
        (
            {'data.packing': 'prefixed_documents'},
            r"packing must not be 'prefixed_documents' .*=8 and pla in",
        ),
    ],
)
def test_what_needs_whole_rows_is_refused_where_they_are_divided(
    changes, message
):
  check_rows(1, **changes)
  with pytest.raises(ValueError, match=message):
    check_rows(8, **changes)


def test_layers_that_are_not_there_need_nothing():
  check_rows(8, **{'model.mixers': ('conv', 'la'), 'model.window': 14})


def check_prompts(part, **changes):
  config = jrt_tiny.get_config()
  config.update_from_flattened_dict({'model.window': 8, **changes})
  layout.check_prompts(config.to_dict()['model'], part)


def test_a_prompt_is_not_divided_into_parts_shorter_than_a_window():
  check_prompts(7)
  with pytest.raises(ValueError, match='^mesh_sequence must be 1 .* the 6 '):
    check_prompts(6)


def test_a_prompt_of_a_model_with_sinks_is_not_divided():
  with pytest.raises(ValueError, match='mesh_sequence must be 1 .*sinks=2'):
    check_prompts(64, **{'model.sinks': 2})
  check_prompts(64, **{'model.sinks': 2, 'model.mixers': ('conv', 'la')})
