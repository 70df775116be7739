import numpy as np
import pytest

from pallas_kernels import testing

WEIGHTS = {
    'taylor_exp': lambda q, k: 1 + q @ k / 2 + (q @ k / 2) ** 2 / 2,  # √D = 2
    'identity': lambda q, k: q @ k,
}

DIVISORS = {
    'sum': lambda den: den,
    'clamp': lambda den: np.sign(den) * max(abs(den), 1),
    'none': lambda den: 1,
}


def by_hand(q, k, v, k_enc, v_enc, prefix_len, weight, divisor):
  """One row and head in loops, as the equation reads."""
  y = np.zeros(v.shape)
  for i in range(len(q)):
    num, den = 0, 0
    for j in range(prefix_len):
      num += weight(q[i], k_enc[j]) * v_enc[j]
      den += weight(q[i], k_enc[j])
    for j in range(i + 1):
      num += weight(q[i], k[j]) * v[j]
      den += weight(q[i], k[j])
    y[i] = num / divisor(den)
  return y


@pytest.mark.parametrize('normalizer', DIVISORS)
@pytest.mark.parametrize('feature_map', WEIGHTS)
def test_the_equation_by_hand(op, feature_map, normalizer):
  inputs = testing.make_inputs(positive=normalizer == 'sum')
  del inputs['initial_state']
  y = op(
      **inputs,
      feature_map=feature_map,
      normalizer=normalizer,
      implementation='reference',
  )
  prefix_len = inputs.pop('prefix_len')
  assert prefix_len.tolist() == [8, 0]
  arrays = [np.asarray(x, np.float64) for x in inputs.values()]
  rules = WEIGHTS[feature_map], DIVISORS[normalizer]
  expected = np.zeros(y.shape)
  for b, h in np.ndindex(2, 2):
    row = [x[b, :, h] for x in arrays]
    expected[b, :, h] = by_hand(*row, int(prefix_len[b]), *rules)
  testing.assert_close(y, expected, 1e-5)


def test_the_initial_state_stands_for_the_tokens_it_has_read(op):
  inputs = testing.make_inputs()
  del inputs['initial_state']
  before = {name: inputs[name] for name in ('k_enc', 'v_enc', 'prefix_len')}
  before |= {name: inputs[name][:, :8] for name in 'qkv'}
  after = {name: inputs[name][:, 8:] for name in 'qkv'}
  options = {'implementation': 'reference', 'return_state': True}
  y, end = op(**inputs, **options)
  _, state = op(**before, **options)
  y_after, end_after = op(**after, initial_state=state, **options)
  testing.assert_close((y_after, end_after), (y[:, 8:], end), 1e-5)


@pytest.mark.parametrize(
    ('sum_of_weights', 'divisor'), [(-3, -3), (-0.5, -1), (0.25, 1), (2, 2)]
)
def test_the_clamp_keeps_the_sign_of_the_sum(op, sum_of_weights, divisor):
  one = np.ones((1, 1, 1, 1), np.float32)
  y = op(
      *(one, one * sum_of_weights, one),
      feature_map='identity',
      normalizer='clamp',
      implementation='reference',
  )
  assert float(y[0, 0, 0, 0]) == sum_of_weights / divisor
