import jax
import jax.numpy as jnp
import pytest

from jrt_jax.compiled import hlo
from jrt_jax.compiled import traffic

KIB = 1024


def operations(text, **options):
  return traffic.operations(hlo.parse(text), **{'unknown_trips': 1} | options)


def fused(body, *operands):
  """(bytes read, bytes written) of a fusion of `operands` by `body`."""
  parameters = [
      f'  %p{i} = {shape} parameter({i})' for i, shape in enumerate(operands)
  ]
  names = ', '.join(f'%p{i}' for i in range(len(operands)))
  lines = [
      '%fused (p: f32[1]) -> f32[1] {',
      *parameters,
      *(f'  {line}' for line in body.strip().splitlines()),
      '}',
      'ENTRY %main (p: f32[1]) -> f32[1] {',
      *parameters,
      f'  ROOT %f = f32[1] fusion({names}), kind=kLoop, calls=%fused',
      '}',
  ]
  (operation,) = operations('\n'.join(lines))
  return operation.read, operation.written


def test_a_fusion_reads_its_operands_and_writes_its_results():
  body = """%a = bf16[256] convert(%p0)
ROOT %t = (bf16[256], f32[256]) tuple(%a, %p1)"""
  assert fused(body, 'f32[256]', 'f32[256]') == (2 * KIB, KIB + 512)


def test_of_what_is_sliced_only_the_slices_are_read():
  body = """%v = f32[256,4] bitcast(%p0)
%a = f32[2,4] slice(%v)
%b = f32[3,4] dynamic-slice(%v, %p1)
ROOT %t = (f32[2,4], f32[3,4]) tuple(%a, %b)"""
  assert fused(body, 'f32[1024]', 's32[]') == (4 * (8 + 12) + 4, 4 * (8 + 12))


def test_what_is_also_needed_whole_is_read_once():
  body = """%a = f32[2,4] slice(%p0)
%s = f32[256,4] negate(%p0)
ROOT %t = (f32[2,4], f32[256,4]) tuple(%a, %s)"""
  assert fused(body, 'f32[256,4]')[0] == 4 * KIB


def test_slices_that_overlap_read_no_more_than_there_is():
  body = """%a = f32[200] slice(%p0)
%b = f32[200] slice(%p0)
ROOT %t = (f32[200], f32[200]) tuple(%a, %b)"""
  assert fused(body, 'f32[256]')[0] == KIB


def test_an_update_in_place_moves_what_is_new():
  body = """%u = f32[1,4] bitcast(%p1)
ROOT %d = f32[256,4] dynamic-update-slice(%p0, %u, %p2)"""
  assert fused(body, 'f32[256,4]', 'f32[4]', 's32[]') == (16 + 4, 16)


def test_a_scatter_reads_and_writes_as_much_as_it_adds():
  body = 'ROOT %s = f32[256,4] scatter(%p0, %p1, %p2), to_apply=%add'
  assert fused(body, 'f32[256,4]', 's32[2]', 'f32[2,4]') == (32 + 8 + 32, 32)


BLAS = """ENTRY %main (p: f32[1]) -> f32[1] {
  %a = bf16[64,32] parameter(0)
  %b = bf16[32,16] parameter(1)
  %m = (f32[64,16], s8[4194304]) custom-call(%a, %b), custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}
  ROOT %g = f32[64,16] get-tuple-element(%m), index=0
}"""


def test_a_product_has_its_flops_and_not_the_room_to_work_in():
  (product,) = operations(BLAS)
  assert product.flops == 2 * 64 * 32 * 16
  assert (product.read, product.written) == (2 * (64 + 16) * 32, 4 * 64 * 16)


LOOPS = """%body (p: f32[64]) -> f32[64] {
  %p = f32[64] parameter(0)
  ROOT %c = f32[64] copy(%p)
}
%cond (p: f32[64]) -> pred[] {
  %p = f32[64] parameter(0)
  ROOT %k = pred[] constant(true)
}
%outer (p: f32[64]) -> f32[64] {
  %p = f32[64] parameter(0)
  ROOT %inner = f32[64] while(%p), condition=%cond, body=%body
}
ENTRY %main (p: f32[64]) -> f32[64] {
  %p = f32[64] parameter(0)
  ROOT %w = f32[64] while(%p), condition=%cond, body=%outer, backend_config={"known_trip_count":{"n":"3"}}
}"""


def test_what_is_in_loops_counts_as_often_as_they_run():
  (copy,) = operations(LOOPS, unknown_trips=7)
  assert copy.count == 3 * 7
  assert copy.num_bytes == 3 * 7 * 2 * 256


STARTED = """%wrapped (p: f32[64]) -> f32[32] {
  %p = f32[64] parameter(0)
  ROOT %scattered = f32[32] reduce-scatter(%p), to_apply=%add
}
ENTRY %main (p: f32[64]) -> f32[64] {
  %p = f32[64] parameter(0)
  %q = f32[64] parameter(1)
  %g = ((f32[64], f32[64]), (f32[128], f32[128])) all-gather-start(%p, %q)
  %h = (f32[128], f32[128]) all-gather-done(%g)
  %r = (f32[64], f32[64]) all-reduce-start(%p, %q), to_apply=%add
  %s = (f32[64], f32[64]) all-reduce-done(%r)
  %c = (f32[64], f32[64], u32[]) copy-start(%p)
  %d = f32[64] copy-done(%c)
  %a = ((f32[64]), f32[32]) async-start(%p), calls=%wrapped
  ROOT %e = f32[32] async-done(%a)
}"""


def test_what_starts_and_ends_apart_is_counted_once():
  found = {x.instruction.name: (x.read, x.written) for x in operations(STARTED)}
  assert found == {
      'g': (512, 1024),
      'r': (512, 512),
      'c': (256, 256 + 4),
      'scattered': (256, 128),
  }


@pytest.mark.parametrize('length', [1, 6])
def test_the_flops_of_a_compiled_loop_are_those_of_its_products(length):
  def f(w, x):
    step = lambda x, _: (jnp.tanh(x @ w), None)
    return jnp.sum(jax.lax.scan(step, x, None, length=length)[0])

  shapes = jnp.ones((16, 16)), jnp.ones((8, 16))
  compiled = jax.jit(jax.grad(f, (0, 1))).lower(*shapes).compile()
  flops = sum(x.count * x.flops for x in operations(compiled.as_text()))
  assert flops == 3 * length * 2 * 8 * 16 * 16
