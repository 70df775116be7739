import pytest

from jrt_jax.compiled import collectives
from jrt_jax.compiled import hlo
from jrt_jax.compiled import traffic

MESH = {'data': 2, 'fsdp': 4, 'tensor': 2}


def exchanges(*instructions, mesh=MESH, gpus_per_node=8):
  lines = [
      'ENTRY %main (p: f32[64]) -> f32[64] {',
      '  %p = f32[64] parameter(0)',
      *(f'  %x{i} = {line}' for i, line in enumerate(instructions)),
      '}',
  ]
  found = traffic.operations(hlo.parse('\n'.join(lines)), unknown_trips=1)
  return collectives.exchanges(found, mesh=mesh, gpus_per_node=gpus_per_node)


def all_reduce(groups, **options):
  (found,) = exchanges(
      f'f32[64] all-reduce(%p), replica_groups={groups}, to_apply=%add',
      **options,
  )
  return found


@pytest.mark.parametrize(
    'groups, axes',
    [
        ('{{0,1},{2,3},{4,5},{6,7}}', ['tensor']),
        ('[8,2]<=[16]', ['tensor']),
        ('[4,4]<=[2,4,2]T(0,2,1)', ['fsdp']),
        ('[8,2]<=[2,4,2]T(2,1,0)', ['data']),
        (
            "mesh['data'=2,'fsdp'=4,'tensor'=2] {'data','fsdp'}",
            ['data', 'fsdp'],
        ),
        ("mesh['axis_0'=8,'axis_1'=2] {'axis_1'}", ['tensor']),
        ('{}', ['data', 'fsdp', 'tensor']),
    ],
)
def test_it_is_known_which_devices_exchange(groups, axes):
  assert all_reduce(groups)['axes'] == axes


def test_an_unknown_notation_is_refused():
  with pytest.raises(ValueError, match='replica_groups must be'):
    all_reduce("new['data'=2]")


def test_only_devices_with_the_same_rows_exchange_what_grows_with_tokens():
  assert all_reduce('[8,2]<=[16]')['grows_with'] == 'tokens'
  assert all_reduce('[8,2]<=[2,8]T(1,0)')['grows_with'] == 'weights'
  assert all_reduce('{}')['grows_with'] == 'weights'


def test_groups_of_several_nodes_are_noticed():
  assert not all_reduce('[8,2]<=[16]')['between_nodes']
  assert all_reduce('[8,2]<=[2,8]T(1,0)')['between_nodes']
  assert not all_reduce('[8,2]<=[2,8]T(1,0)', gpus_per_node=16)['between_nodes']


@pytest.mark.parametrize(
    'line, size, sent',
    [
        ('f32[64] all-reduce(%p)', 256, 2 * 256 * 3 / 4),
        ('(f32[64], f32[256]) all-gather-start(%p)', 1024, 1024 * 3 / 4),
        ('f32[16] reduce-scatter(%p)', 256, 256 * 3 / 4),
        ('f32[64] collective-permute(%p)', 256, 256),
    ],
)
def test_each_device_sends_what_a_ring_takes(line, size, sent):
  (found,) = exchanges(f'{line}, replica_groups=[1,4]<=[4]', mesh={'fsdp': 4})
  assert (found['bytes'], found['sent']) == (size, sent)


def test_exchanges_of_a_kind_are_summed_up_and_the_largest_is_first():
  groups = 'replica_groups=[1,4]<=[4]'
  first, second = exchanges(
      f'f32[16] reduce-scatter(%p), {groups}',
      f'f32[64] all-reduce(%p), {groups}',
      f'f32[64] all-reduce(%p), {groups}',
      'f32[64] negate(%p)',
      mesh={'data': 4},
  )
  assert (first['kind'], first['count'], first['bytes']) == (
      'all-reduce',
      2,
      512,
  )
  assert second['kind'] == 'reduce-scatter'


def test_what_devices_exchange_that_divide_rows_is_told_apart():
  mesh = {'data': 2, 'sequence': 4}
  assert all_reduce('[2,4]<=[8]', mesh=mesh)['grows_with'] == 'rows'
  assert all_reduce('{}', mesh=mesh)['grows_with'] == 'weights'
