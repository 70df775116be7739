"""What instructions compute of numbers, where it is easy to get wrong."""

import numpy as np
import pytest

import ptx

MINUS_EIGHT = 2**32 - 8


def bits(x):
  return int(np.float32(x).view(np.uint32))


@pytest.mark.parametrize(
    'instruction, expected',
    [
        ('add.s32 %r, 7, -15', MINUS_EIGHT),
        ('mul.hi.u32 %r, -1, 2', 1),
        ('mul.hi.s32 %r, -1, 2', 2**32 - 1),
        ('mad.lo.s32 %r, 3, -4, 4', MINUS_EIGHT),
        ('max.s32 %r, -8, -9', MINUS_EIGHT),
        ('min.u32 %r, -8, 5', 5),
        ('shl.b32 %r, 1, 32', 0),
        ('shr.u32 %r, -1, 28', 15),
        ('shr.u32 %r, -1, 40', 0),
        ('shr.s32 %r, -128, 4', MINUS_EIGHT),
        ('shr.s32 %r, -1, 40', 2**32 - 1),
        ('bfe.u32 %r, 0xABCD, 4, 8', 0xBC),
        ('add.f32 %r, 0f3F800000, 0f40000000', bits(3)),
        # The product alone would round to 1.
        (
            f'fma.rn.f32 %r, {hex(bits(1 + 2**-12))}, {hex(bits(1 - 2**-12))},'
            f' {hex(bits(-1))}',
            bits(-(2.0**-24)),
        ),
        ('setp.lt.s32 %p, -1, 1; selp.b32 %r, 1, 2, %p', 1),
        ('setp.lt.u32 %p, -1, 1; selp.b32 %r, 1, 2, %p', 2),
        # Nothing is less than what is no number.
        ('setp.lt.f32 %p, 0f7FC00000, 0f3F800000; selp.b32 %r, 1, 2, %p', 2),
        ('max.f32 %r, 0f7FC00000, 0f3F800000', bits(1)),
        ('max.NaN.f32 %r, 0f7FC00000, 0f3F800000', 0x7FC00000),
        ('setp.ne.f32 %p, 0f7FC00000, 0f3F800000; selp.b32 %r, 1, 2, %p', 2),
        ('setp.neu.f32 %p, 0f7FC00000, 0f3F800000; selp.b32 %r, 1, 2, %p', 1),
        ('setp.eq.and.s32 %p, 1, 1, !%group0; selp.b32 %r, 1, 2, %p', 2),
        ('mov.pred %p, -1; selp.b32 %r, 1, 2, %p', 1),
        ('mov.b32 %r, 3; @%first mov.b32 %r, 4', 4),
        # The lower half comes first: 2, and then 1.
        ('cvt.rn.bf16x2.f32 %r, 0f3F800000, 0f40000000', 0x3F804000),
        # 1 + 2^-8 lies between two bfloat16: the even one, 1, is taken.
        ('cvt.rn.bf16.f32 %h, 0f3F808000; cvt.f32.bf16 %r, %h', bits(1)),
        ('mul.bf16x2 %r, 0x3F804000, 0x40004000', 0x40004080),
        ('mov.b32 %r, 7; mov.b32 {_, %h}, %r; cvt.u32.u16 %r, %h', 0),
    ],
)
def test_an_instruction_computes(run, instruction, expected):
  result = run(f'{instruction}; st.global.b32 [%out], %r')
  assert hex(result[0]) == hex(expected)


def test_only_lanes_with_the_predicate_are_changed(run):
  result = run(
      'mov.b32 %r, 3; @!%first mov.b32 %r, 4; st.global.b32 [%out], %r'
  )
  np.testing.assert_array_equal(result, [3] + 127 * [4])


@pytest.mark.parametrize(
    'instruction, message',
    [
        ('add.sat.s32 %r, 1, 2', r'\(add.sat.s32 %r, 1, 2\): .* not modelled'),
        ('add.s32 %r, %unknown, 2', '%unknown, which was never written'),
        ('add.s32 %r, %laneid, 2', '%laneid is not modelled'),
        ('add.s32 %r, %ntid.x, 2', '%ntid.x is not modelled'),
        ('add.s32 %r, %own, %out', '%out has 64 bits, not 32'),
        ('setp.eq.s32 %p|%q, 1, 2', r"\('%p', '%q'\) is no register"),
    ],
)
def test_what_is_not_understood_is_refused(run, instruction, message):
  with pytest.raises(ptx.Violation, match=message):
    run(instruction)
