"""PTX as it is read."""

import pytest

import ptx
from ptx import code

PTX = """
.version 9.0
.visible .entry copy(
	.param .u64 copy_param_0
)
.maxntid 128, 1, 1
{{
	.reg .b32 %r<9>; // registers
	.loc	2 17 3
	{body}
	ret;
}}
	.file	1 "/src/launch.py"
	.file	2 "/src/copy.py"
"""


def instructions(body):
  return code.parse(PTX.format(body=body)).instructions


def test_an_instruction_has_its_operands_and_the_line_it_was_made_from():
  store, _ = instructions('@!%p1 st.v2.b32 [%rd1+-8], {%r1, 0f3F800000};')
  assert store == code.Instruction(
      opcode='st.v2.b32',
      operands=(code.Address('%rd1', -8), ('%r1', 0x3F800000)),
      predicate='%p1',
      negated=True,
      text='@!%p1 st.v2.b32 [%rd1+-8], {%r1, 0f3F800000}',
      source='copy.py:17',
  )


def test_addresses_of_parameters_and_of_shared_memory_are_symbols():
  move, copy, _ = instructions(
      'mov.b64 %rd1, copy_param_0;'
      'cp.async [%rd1, {%r1, 3} ], [__dynamic_shmem__0+64], -1;'
  )
  assert move.operands == ('%rd1', code.Symbol(0))
  assert copy.operands == (
      code.Address('%rd1', 0, ('%r1', 3)),
      code.Address(code.Symbol(None), 64),
      -1,
  )


def test_labels_in_braces_are_their_own():
  block = '{ .reg .pred P1; AGAIN: try P1; @P1 bra AGAIN; }'
  parsed = code.parse(PTX.format(body=f'$HERE: {block}\n{block}'))
  first, _, second, branch, _ = parsed.instructions
  assert parsed.labels['$HERE'] == 0
  assert parsed.labels[branch.operands[0]] == 2
  assert first.operands != second.operands == (branch.predicate,)


@pytest.mark.parametrize('body', ['.branchtargets A;', 'mov.b32 %r1, [;'])
def test_what_is_not_understood_is_refused(body):
  with pytest.raises(ptx.Violation, match='line 11 of the PTX is not unders'):
    instructions(body)


def test_text_without_a_kernel_is_refused():
  with pytest.raises(ptx.Violation, match='there is no kernel in the PTX'):
    code.parse('.version 9.0')
