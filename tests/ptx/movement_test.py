"""Memory, and lanes that exchange values."""

import numpy as np
import pytest

import ptx

LANES = np.arange(128)


def test_every_thread_writes_where_it_says(run):
  result = run('st.global.b32 [%out], %thread')
  np.testing.assert_array_equal(result, LANES)


@pytest.mark.parametrize(
    'instruction, message',
    [
        ('st.global.b32 [%out+4], %thread', '512 bytes, accessed are 4 to 516'),
        ('@%first st.global.b32 [%out+2], 0', 'no multiple of 4 bytes'),
        ('st.shared.b32 [%out], %thread', 'not in shared memory'),
        (
            'cvt.u64.u32 %a, %own; add.s64 %a, %a, %shared;'
            ' st.shared.b32 [%a+8192], %thread',
            'shared memory has 8192 bytes',
        ),
    ],
)
def test_memory_beyond_its_bounds_is_refused(run, instruction, message):
  with pytest.raises(ptx.Violation, match=message):
    run(instruction)


def test_an_argument_that_is_read_is_not_written(run):
  with pytest.raises(ptx.Violation, match='only read'):
    run(
        'sub.s64 %out, %out, 68719476736; st.global.b32 [%out], %thread',
        inputs=[np.zeros(128, np.uint32)],
    )


def test_what_was_never_written_is_nan(run):
  result = run('ld.shared.b32 %r, [%shared]; st.global.b32 [%out], %r')
  assert np.isnan(result.view(np.float32)).all()


def test_a_lane_reads_another_one(run):
  result = run(
      'shfl.sync.bfly.b32 %r|%p, %thread, 1, 31, -1; st.global.b32 [%out], %r'
  )
  np.testing.assert_array_equal(result, LANES ^ 1)


def test_one_lane_of_each_warp_is_elected(run):
  result = run(
      'elect.sync %r|%p, -1; selp.b32 %r, 1, 0, %p; st.global.b32 [%out], %r'
  )
  np.testing.assert_array_equal(result, LANES % 32 == 0)


ROWS = """
and.b32 %row, %thread, 31;
shr.u32 %warp, %thread, 5;
mad.lo.s32 %row, %warp, 32, %row;
mul.wide.u32 %a, %row, 16;
add.s64 %a, %a, %shared;
"""


def test_matrices_are_stored_by_the_rows_that_lanes_name(run):
  # Lane l has elements 2 (l % 4) and the next one of row l / 4.
  result = run(ROWS + """
      stmatrix.sync.aligned.m8n8.x4.shared.b16
          [%a], {%thread, %thread, %thread, %thread};
      bar.sync 0;
      ld.shared.b32 %r, [%a];
      st.global.b32 [%out], %r;
      """)
  warp, row = LANES // 32, LANES % 8
  np.testing.assert_array_equal(result, 32 * warp + 4 * row)


def test_matrices_are_loaded_as_they_were_stored(run):
  result = run(ROWS + """
      stmatrix.sync.aligned.m8n8.x4.shared.b16
          [%a], {%own, %own, %thread, %own};
      bar.sync 0;
      ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%a];
      st.global.b32 [%out], %r3;
      """)
  np.testing.assert_array_equal(result, LANES)
