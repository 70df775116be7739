"""Matrix products: what they compute, and what nobody may touch meanwhile."""

import numpy as np
import pytest

import ptx
from ptx.memory import SHARED

# Operands without a swizzle: cores of 8 rows of 16 bytes; those for K from 8 on
# lie 128 bytes further, the next 8 rows 256 bytes. B lies 4096 bytes beyond A.
A = SHARED >> 4 | 128 >> 4 << 16 | 256 >> 4 << 32
B = A + (4096 >> 4)
# Thread t writes 1 to row t / 2 % 64 of A and B, to all columns of a half.
FILL = """
shr.u32 %row, %thread, 1;
and.b32 %half, %thread, 1;
and.b32 %low, %row, 7;
shr.u32 %high, %row, 3;
mul.lo.s32 %at, %low, 16;
mad.lo.s32 %at, %high, 256, %at;
mad.lo.s32 %at, %half, 128, %at;
cvt.u64.u32 %a, %at;
add.s64 %a, %a, %shared;
cvt.rn.f32.s32 %value, %row;
cvt.rn.bf16x2.f32 %value, %value, %value;
st.shared.v4.b32 [%a], {%value, %value, %value, %value};
mov.b32 %one, 0x3F803F80;
st.shared.v4.b32 [%a+4096], {%one, %one, %one, %one};
mov.b32 %d0, 0; mov.b32 %d1, 0; mov.b32 %d2, 0; mov.b32 %d3, 0;
setp.eq.s32 %p, 1, 1;
"""
SEEN = 'fence.proxy.async.shared::cta; bar.sync 0;'
FENCE = 'wgmma.fence.sync.aligned;'
MULTIPLY = f"""
wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16
    {{%d0, %d1, %d2, %d3}}, {A}, {B}, %p, 1, 1, 0, 0;
wgmma.commit_group.sync.aligned;
"""
WAIT = 'wgmma.wait_group.sync.aligned 0;'
RESULT = 'st.global.b32 [%out], %d2;'

at_any_time = pytest.mark.parametrize('late', [False, True])


@at_any_time
def test_rows_of_the_product_lie_in_the_registers_of_their_threads(run, late):
  result = run(FILL + SEEN + FENCE + MULTIPLY + WAIT + RESULT, late=late)
  lane, warp = np.arange(128) % 32, np.arange(128) // 32
  row = 16 * warp + lane // 4 + 8  # of the third register
  np.testing.assert_array_equal(result.view(np.float32), 16 * row)


# Two products that both read B; only the first has been waited for.
ONE_OF_TWO = (
    FILL
    + ''.join(f'mov.b32 %e{i}, 0;' for i in range(4))
    + (SEEN + FENCE + MULTIPLY + MULTIPLY.replace('%d', '%e'))
    + 'wgmma.wait_group.sync.aligned 1;'
)


@at_any_time
def test_a_product_is_read_while_a_later_one_is_in_flight(run, late):
  result = run(ONE_OF_TWO + RESULT + WAIT, late=late)
  assert result.view(np.float32)[0] == 16 * 8
  with pytest.raises(ptx.Violation, match='reads %e2, which a wgmma'):
    run(ONE_OF_TWO + RESULT.replace('%d', '%e') + WAIT, late=late)


@at_any_time
def test_what_a_later_product_still_reads_is_not_overwritten(run, late):
  program = ONE_OF_TWO + 'bar.sync 0; st.shared.b32 [%a+4096], 0;' + WAIT
  with pytest.raises(ptx.Violation, match='overwritten while warp 0 may still'):
    run(program, late=late)


@pytest.mark.parametrize(
    'program, message',
    [
        ('bar.sync 0;' + FENCE + MULTIPLY + WAIT, 'without a proxy fence'),
        (SEEN + MULTIPLY + WAIT, 'no wgmma.fence since %d0 was written'),
        (SEEN + FENCE + MULTIPLY + RESULT + WAIT, 'reads %d2, which a wgmma'),
        (
            SEEN + FENCE + MULTIPLY + 'mov.b32 %d1, 0;' + WAIT,
            'writes %d1, which a wgmma',
        ),
        (
            SEEN + FENCE + MULTIPLY + 'st.shared.b32 [%a+4096], 0;' + WAIT,
            'overwritten while warp 0 may still read it',
        ),
        (SEEN + FENCE + MULTIPLY, 'ends while a wgmma is in flight'),
    ],
)
@at_any_time
def test_what_a_product_needs_is_noticed_if_it_is_missing(
    run, program, message, late
):
  with pytest.raises(ptx.Violation, match=message):
    run(FILL + program, late=late)


@pytest.mark.parametrize(
    'before, after, message',
    [
        (str(A), str(A + (1 << 14)), 'has bits that no field of it has'),
        (str(A), str(A + (1 << 49)), 'a base offset is not modelled'),
        # The second row of a swizzle of 128 bytes.
        (str(A), str(A + 8 + (1 << 62)), 'in the first row .* starts at 128'),
        ('%d3}', '%e3}', 'reads %e3, which was never written'),
    ],
)
def test_products_that_are_not_modelled_are_refused(
    run, before, after, message
):
  multiply = MULTIPLY.replace(before, after)
  with pytest.raises(ptx.Violation, match=message):
    run(FILL + SEEN + FENCE + multiply + WAIT)
