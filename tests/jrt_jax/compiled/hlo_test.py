import jax
import jax.numpy as jnp
import pytest

from jrt_jax.compiled import hlo
from jrt_jax.compiled.hlo import Frame
from jrt_jax.compiled.hlo import Shape

TEXT = """HloModule jit_f, is_scheduled=true

FileNames
1 "/home/me/model.py"
2 "/home/me/layer.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=1 function_name_id=1 line=12 end_line=12 column=6 end_column=9}
2 {file_name_id=2 function_name_id=1 line=7 end_line=7 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}


%body.1 (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  ROOT %arg = (s32[], f32[8]{0}) parameter(0)
}

ENTRY %main.2 (x.1: f32[8]) -> f32[8] {
  %x.1 = f32[8]{0} parameter(0), metadata={op_name="x"}
  %tuple = (s32[], (f32[8]{0}, /*index=2*/bf16[4,2]{1,0:T(8,128)})) tuple(%x.1, %x.1)
  %while = (s32[], f32[8]{0}) while(%tuple), condition=%cond, body=%body.1, metadata={op_name="jit(f)/while" stack_frame_id=2}, backend_config={"known_trip_count":{"n":"5"}}
  %kernel = f32[8]{0} custom-call(%x.1), custom_call_target="mosaic", backend_config={module = "calls=%evil (\\22"}
  ROOT %sum = f32[8]{0} fusion(%x.1, %kernel), kind=kLoop, calls=%body.1
}
"""


@pytest.fixture(scope='module')
def program():
  return hlo.parse(TEXT)


@pytest.fixture(scope='module')
def main(program):
  return program.computations[program.entry].instructions


def test_an_instruction_has_its_shapes_and_operands(main):
  shapes = Shape('s32', ()), Shape('f32', (8,)), Shape('bf16', (4, 2))
  assert main['tuple'].shapes == shapes
  assert main['tuple'].num_bytes == 4 + 32 + 16
  assert main['sum'].operands == ('x.1', 'kernel') and main['sum'].is_root


def test_a_loop_has_its_computations_and_its_trips(program, main):
  assert main['while'].trips == 5 and main['sum'].trips is None
  body = program.called(main['while'], 'body')
  assert body is program.computations['body.1'] and body.root.name == 'arg'


def test_it_is_known_where_an_instruction_was_made(program, main):
  inner, outer = Frame('/home/me/layer.py', 7), Frame('/home/me/model.py', 12)
  assert [*program.stack(main['while'])] == [inner, outer]
  assert not [*program.stack(main['kernel'])]


def test_what_a_backend_has_added_is_not_taken_for_a_call(main):
  assert main['kernel'].target == 'mosaic' and not main['kernel'].calls
  assert main['sum'].calls == {'calls': ('body.1',)}


@pytest.mark.parametrize(
    'dtype, size',
    [('f32', 12), ('bf16', 6), ('f8e4m3fn', 3), ('pred', 3), ('s4', 2)],
)
def test_a_shape_has_the_bytes_of_its_elements(dtype, size):
  assert Shape(dtype, (3, 1)).num_bytes == size
  assert Shape('token', ()).num_bytes == 0


def test_a_program_that_was_compiled_is_read_whole():
  def f(w, x):
    step = lambda x, _: (jnp.tanh(x @ w), None)
    return jax.lax.scan(step, x, None, length=5)[0]

  compiled = jax.jit(f).lower(jnp.ones((4, 4)), jnp.ones((2, 4))).compile()
  program = hlo.parse(compiled.as_text())
  everything = [
      (computation, x)
      for computation in program.computations.values()
      for x in computation.instructions.values()
  ]
  (loop,) = (x for _, x in everything if x.opcode == 'while')
  assert loop.trips == 5
  assert __file__ in {frame.file for frame in program.stack(loop)}
  for computation, x in everything:
    assert len(computation.operands(x)) == len(x.operands)


@pytest.mark.parametrize('text', ['', 'module @jit_f { func.func }'])
def test_another_text_is_refused(text):
  with pytest.raises(ValueError, match='must be an optimised HLO module'):
    hlo.parse(text)
