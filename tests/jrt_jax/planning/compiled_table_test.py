import pytest

from configs import jrt_360m
from jrt_jax.cost import topology
from jrt_jax.planning import budget
from jrt_jax.planning import compiled_table

GIB = 2**30


def make_table(*, peak=40 * GIB, exchanges=(), with_traffic=True, **changes):
  config = jrt_360m.get_config()
  config.update_from_flattened_dict(changes)
  found = budget.make(config.to_dict(), topology.parse('8xH100'))
  found['compiled'] = {
      'bytes': {'state': 4 * GIB, 'temporary': peak - 4 * GIB, 'peak': peak},
      'kernels': {
          '__cublas$lt$matmul': 700,
          '__cudnn$fmhaSoftmax': 20,
          'prefix_linear_attention_dkv': 21,
          'prefix_linear_attention_forward': 22,
      },
      'exchanges': list(exchanges),
      'traffic': {
          'rates': {'flops': 650e12, 'bandwidth': 3e12},
          'kinds': {
              'GEMM': {'bytes': GIB, 'flops': 90e12, 'seconds': 0.14},
              'fusions': {'bytes': 300 * GIB, 'flops': 0, 'seconds': 0.1},
              'collectives': {'bytes': GIB, 'flops': 0, 'seconds': 9.0},
          },
          'seconds': 0.24,
          'tokens_per_second': 2.18e6,
          'mfu': 0.5491,
          'most_moved': [
              {
                  'source': source,
                  'operation': 'convert_element_type (backward)',
                  'kernels': 53,
                  'read': 20 * GIB,
                  'written': 10 * GIB,
              }
              for source in ('jrt_jax/models/block.py:79', '')
          ],
      },
  }
  text = compiled_table.table(found, with_traffic=with_traffic)
  assert max(map(len, text.splitlines())) <= 80
  return text


def exchange(**changes):
  return {
      'kind': 'all-reduce',
      'axes': ['data'],
      'grows_with': 'weights',
      'count': 3,
      'bytes': GIB,
      'sent': GIB,
      'between_nodes': False,
  } | changes


@pytest.mark.parametrize(
    'peak, words',
    [
        (
            40,
            'It fits into the 75 % that JAX uses by default: 20 GiB to spare.',
        ),
        (
            70,
            'It fits into the 90 % that JAX uses with launch on a cluster: 2 GiB',
        ),
        (75, 'It does not fit into 90 % of the memory: 3 GiB too much.'),
    ],
)
def test_it_says_whether_a_step_fits_and_by_how_much(peak, words):
  assert words in make_table(peak=peak * GIB)


def test_it_names_the_kernels_of_linear_attention_and_of_cudnn():
  text = make_table()
  assert '21 dkv, 22 forward in a step' in text and '20 Softmax' in text
  chunked = make_table(**{'model.implementation': 'chunked'})
  assert 'no kernels' not in text and 'no kernels' in chunked


def test_it_tells_apart_what_grows_with_weights_and_with_tokens():
  text = make_table(
      exchanges=[
          exchange(between_nodes=True),
          exchange(axes=['tensor'], grows_with='tokens', count=9),
          exchange(axes=['fsdp'], sent=12),
      ]
  )
  weights, tokens = text.split('to its weights')[1].split('to the tokens of')
  assert '1 GiB     3 x  all-reduce (data), between nodes' in weights
  assert '9 x  all-reduce (tensor)' in tokens and 'between' not in tokens
  assert 'fsdp' not in text  # too little


def test_where_next_to_nothing_is_exchanged_it_says_so():
  assert 'Each GPU sends less than 1 MiB in a step.' in make_table()


def test_time_is_that_of_all_kinds_of_work_but_exchanges():
  text = make_table()
  assert '140.0 ms' in text and '240.0 ms' in text and 'collectives' not in text
  assert 'At most 2.18M tokens a second, 0.549 of the peak; at least 4h' in text
  assert 'assumes 650 TFLOP/s and 3.0 TB/s' in text


def test_fusions_are_shown_with_their_source_where_they_are_asked_for():
  assert '30 GiB    53 x  jrt_jax/models/block.py:79 convert' in make_table()
  assert '(XLA) convert_element_type' in make_table()
  assert 'block.py' not in make_table(with_traffic=False)
