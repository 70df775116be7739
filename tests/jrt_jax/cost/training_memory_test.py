import pytest

from configs import jrt_1b
from configs import jrt_360m
from jrt_jax.cost import training_memory
from jrt_jax.training import loss

ONE = {'data': 1, 'fsdp': 1, 'sequence': 1, 'tensor': 1}
C, P, S, A = 'conv', 'pla', 'swa', 'attention'

# (config, mixers, microbatch, accumulation, implementation): bytes of a step, what
# `jrt_jax.plan --compile` said on 30 November 2026 with jax 0.11.2, for 1xH100 or,
# of four microbatches, 8xH100. `tests/aot/plan_test.py` compiles one of them again.
COMPILED = {
    (jrt_360m, (C, P, S), 16, 2, 'mosaic_sm90'): 5_365_724_664,
    (jrt_360m, (C, C, C), 8, 2, 'mosaic_sm90'): 3_870_416_576,
    (jrt_360m, (P, P, P), 8, 2, 'mosaic_sm90'): 3_396_385_920,
    (jrt_360m, (S, S, S), 8, 2, 'mosaic_sm90'): 3_409_741_400,
    (jrt_360m, (C,), 8, 2, 'mosaic_sm90'): 2_324_489_968,
    (jrt_360m, (C, P, S), 8, 1, 'mosaic_sm90'): 3_228_427_248,
    (jrt_360m, (P, P, P), 8, 2, 'chunked'): 3_596_135_296,
    (jrt_360m, (A, A, A), 8, 2, 'mosaic_sm90'): 3_409_741_400,
    (jrt_360m, None, 16, 2, 'mosaic_sm90'): 33_403_410_760,
    (jrt_360m, None, 8, 4, 'mosaic_sm90'): 20_086_067_472,
    (jrt_1b, None, 8, 4, 'mosaic_sm90'): 56_446_678_912,
}


def make(config, **model):
  whole = config.get_config().to_dict()
  return whole | {'model': whole['model'] | model}


def working(config, *, mesh=ONE, microbatch=8, length=2048, **model):
  return training_memory.working_bytes(
      make(config, **model)['model'],
      mesh=mesh,
      microbatch=microbatch,
      sequence_length=length,
      prefix_capacity=0.5,
  )


@pytest.mark.parametrize(
    'case, compiled',
    COMPILED.items(),
    ids=lambda x: '-'.join(x[1] or ('all',)) if isinstance(x, tuple) else '',
)
def test_an_estimate_is_within_5_percent_of_what_the_compiler_said(
    case, compiled
):
  config, mixers, microbatch, accumulation, implementation = case
  model = {'implementation': implementation}
  model |= {'mixers': mixers} if mixers else {}
  state = training_memory.state_bytes(make(config, **model), ONE, accumulation)
  estimated = training_memory.peak_bytes(
      state, working(config, microbatch=microbatch, **model)
  )
  assert estimated == pytest.approx(compiled, rel=0.05)


# The same with weights shared by eight H100, in GiB, with jax 0.12.0.1, by layers,
# microbatch and number of microbatches.
SHARED = {(3, 8, 4): 2.12, (3, 16, 2): 3.66, (12, 8, 4): 6.43}


@pytest.mark.parametrize('case, compiled', SHARED.items())
def test_an_estimate_with_fsdp_is_close_as_well(case, compiled):
  layers, microbatch, accumulation = case
  model = {'implementation': 'mosaic_sm90', 'mixers': (C, P, S) * (layers // 3)}
  mesh = ONE | {'fsdp': 8}
  state = training_memory.state_bytes(
      make(jrt_360m, **model), mesh, accumulation
  )
  estimated = training_memory.peak_bytes(
      state, working(jrt_360m, mesh=mesh, microbatch=microbatch, **model)
  )
  assert estimated == pytest.approx(compiled * 2**30, rel=0.05)


def test_activations_grow_with_tokens_and_weights_do_not():
  one, four = working(jrt_360m), working(jrt_360m, microbatch=32)
  longer = working(jrt_360m, length=4 * 2048)
  assert four['activations'] == 4 * one['activations'] == longer['activations']
  assert four['weights to multiply'] == one['weights to multiply']
  assert four['logits'] > one['logits'] == longer['logits']


def test_recomputing_leaves_less_to_keep():
  none, dots, full = (
      working(jrt_360m, remat=remat)['activations']
      for remat in training_memory.REMAT
  )
  assert none > dots > full > 26 * 4 * 1024 * 8 * 2048  # inputs of the layers


def test_sharing_heads_divides_what_is_inside_mixers_and_mlps():
  alone, shared = working(jrt_1b), working(jrt_1b, mesh=ONE | {'tensor': 4})
  assert shared['logits'] == pytest.approx(alone['logits'] / 4)
  assert shared['weights to multiply'] < 0.3 * alone['weights to multiply']
  assert 0.3 < shared['activations'] / alone['activations'] < 0.7


def test_dividing_positions_divides_activations_but_the_keys_of_attention():
  divided = ONE | {'sequence': 4}
  alone, shared = working(jrt_1b), working(jrt_1b, mesh=divided)
  assert shared == working(jrt_1b, length=2048 // 4)
  assert shared['activations'] == pytest.approx(alone['activations'] / 4)
  attention = {'mixers': (A,) * 4}
  quarter = working(jrt_1b, length=2048 // 4, **attention)
  shared = working(jrt_1b, mesh=divided, **attention)
  keys_and_values = 4 * 2 * 2048 * jrt_1b.get_config().model.width
  more = shared['activations'] - quarter['activations']
  assert more == 2 * 8 * keys_and_values  # 8 rows in bfloat16


def test_shared_weights_are_gathered_to_multiply():
  alone, shared = working(jrt_1b), working(jrt_1b, mesh=ONE | {'fsdp': 8})
  assert shared == alone


def test_gradients_of_a_microbatch_come_when_its_activations_go():
  state = {'weights': 10, 'gradients': 20, 'moments': 20}
  few = {'weights to multiply': 5, 'activations': 3, 'logits': 1}
  assert training_memory.peak_bytes(state, few) == 10 + 20 + 20 + 5
  many = few | {'activations': 100}
  assert training_memory.peak_bytes(state, many) == 10 + 10 + 20 + 5 + 100 + 1


def test_a_block_of_the_loss_is_that_of_training():
  assert training_memory.LOSS_BLOCK == loss.BLOCK
