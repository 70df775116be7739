"""Tiles that TMA copies."""

import numpy as np
import pytest

import ptx
from ptx.host import TensorMap

# Boxes of 8 rows and 8 columns of a matrix with 20 rows of 12 words.
MAP = TensorMap(
    argument=0, element=4, sizes=(20, 12), strides=(12, 1), box=(8, 8),
    swizzle=16,
)  # fmt: skip
MATRIX = np.arange(240, dtype=np.uint32).reshape(20, 12)
INIT = """
@%first mbarrier.init.shared::cta.b64 [%shared+4096], 1;
fence.mbarrier_init.release.cluster;
bar.sync 0;
"""
EXPECT = '@%first mbarrier.arrive.expect_tx.shared.b64 _, [%shared+4096], {};'
LOAD = """
@%first cp.async.bulk.tensor.2d.shared::cluster.global
.mbarrier::complete_tx::bytes [%shared], [%map, {8, 16}], [%shared+4096];
""".replace('global\n', 'global')
WAIT = 'mbarrier.try_wait.parity.shared.b64 %p, [%shared+4096], 0;'
# Each thread has a word of the tile, the last ones none.
READ = """
and.b32 %r, %own, 255;
cvt.u64.u32 %a, %r;
add.s64 %a, %a, %shared;
ld.shared.b32 %r, [%a];
st.global.b32 [%out], %r;
"""

at_any_time = pytest.mark.parametrize('late', [False, True])


def load(run, program, tensor_map=MAP, **options):
  result = run(program, inputs=[MATRIX], maps={0: tensor_map}, **options)
  return result[:64].reshape(8, 8)


@at_any_time
def test_a_tile_that_hangs_over_the_edge_is_filled_up_with_zeros(run, late):
  tile = load(run, INIT + EXPECT.format(256) + LOAD + WAIT + READ, late=late)
  expected = np.zeros((8, 8))
  expected[:4, :4] = MATRIX[16:, 8:]
  np.testing.assert_array_equal(tile, expected)


def test_a_swizzle_exchanges_units_of_16_bytes(run):
  swizzled = TensorMap(**vars(MAP) | {'swizzle': 32})
  first = LOAD.replace('{8, 16}', '{0, 0}')
  program = INIT + EXPECT.format(256) + first + WAIT + READ
  tile = load(run, program, tensor_map=swizzled)
  np.testing.assert_array_equal(tile[:4], MATRIX[:4, :8])
  np.testing.assert_array_equal(tile[4:, :4], MATRIX[4:8, 4:8])
  np.testing.assert_array_equal(tile[4:, 4:], MATRIX[4:8, :4])


@pytest.mark.parametrize(
    'program, message',
    [
        (EXPECT.format(256) + LOAD + READ, 'TMA for the mbarrier 0'),
        (EXPECT.format(252) + LOAD + WAIT + READ, 'deadlock.*try_wait'),
        (EXPECT.format(260) + LOAD + WAIT + READ, 'deadlock.*try_wait'),
        (
            EXPECT.format(256) + LOAD.replace('{8, 16}', '{8, 16, 0}'),
            'of 2 dimensions got 3 coordinates',
        ),
        (
            EXPECT.format(256) + LOAD.replace('[%shared]', '[%shared+64]'),
            'multiple of 128 bytes',
        ),
        (
            EXPECT.format(256) + LOAD + LOAD + WAIT,
            'TMA .* has written, is overwritten without waiting',
        ),
        (
            'ld.shared.b32 %r, [%shared]; bar.sync 0;'
            + EXPECT.format(256)
            + LOAD
            + WAIT,
            'warp 0 may still read it without a proxy fence',
        ),
    ],
)
@at_any_time
def test_what_a_copy_needs_is_noticed_if_it_is_missing(
    run, program, message, late
):
  with pytest.raises(ptx.Violation, match=message):
    load(run, INIT + program, late=late)


def test_a_barrier_that_tma_cannot_know_of_yet_is_noticed(run):
  init = INIT.replace('fence.mbarrier_init.release.cluster;', '')
  with pytest.raises(ptx.Violation, match='read without a proxy fence'):
    load(run, init + EXPECT.format(256) + LOAD + WAIT)


FILL = """
cvt.u64.u32 %a, %own;
add.s64 %a, %a, %shared;
st.shared.b32 [%a], %thread;
"""
FENCE = 'fence.proxy.async.shared::cta;'
STORE = """
bar.sync 0;
@%first cp.async.bulk.global.shared::cta.bulk_group [%out], [%shared], 512;
cp.async.bulk.commit_group;
"""
STORED = 'cp.async.bulk.wait_group.read 0;'


@at_any_time
def test_a_row_is_written_as_it_was_in_shared_memory(run, late):
  result = run(FILL + FENCE + STORE + STORED, late=late)
  np.testing.assert_array_equal(result, np.arange(128))


@pytest.mark.parametrize(
    'program, message',
    [
        (FILL + STORE + STORED, 'without a proxy fence'),
        (FILL + FENCE + STORE, 'ends while TMA may still read'),
        # Only the thread that has asked for it can wait for it.
        (
            FILL
            + FENCE
            + STORE.replace(
                'cp.async.bulk.commit', '@!%first cp.async.bulk.commit'
            )
            + '@!%first '
            + STORED,
            'ends while TMA may still read',
        ),
        (
            FILL + FENCE + STORE + '@!%first ' + STORED,
            'ends while TMA may still read',
        ),
        (
            FILL + FENCE + STORE + 'bar.sync 0;' + FILL + STORED,
            'overwritten while warp 0 may still read it',
        ),
    ],
)
@at_any_time
def test_what_a_copy_back_needs_is_noticed_if_it_is_missing(
    run, program, message, late
):
  with pytest.raises(ptx.Violation, match=message):
    run(program, late=late)
