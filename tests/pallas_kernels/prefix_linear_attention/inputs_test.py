import jax.numpy as jnp
import pytest

import pallas_kernels
from pallas_kernels import testing
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import feature_maps

L = 13


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'feature_map': 'exp'}, "^feature_map must be one of .*, got 'exp'"),
        ({'normalizer': 'l2'}, "^normalizer must be one of .*, got 'l2'"),
        (
            {'feature_map': feature_maps.symmetric_power(2)},
            "^normalizer must be 'clamp' or 'none' .*degree=2.* got 'sum'",
        ),
        (
            {'feature_map': feature_maps.polynomial(2, 1.0)},
            '^normalizer must be .* such as polynomial',
        ),
        (
            {'feature_map': feature_maps.taylor_exp(3)},
            '^normalizer must be .* such as taylor_exp',
        ),
        ({'implementation': 'x'}, "^implementation must be one of .*, got 'x'"),
        ({'q': (13, 2, 4)}, r'^q must have shape \[B, L, H, D\], got \[13, '),
        ({'q': 'float16'}, '^q must be bfloat16 or float32, got float16'),
        ({'k': (2, 13, 2, 5)}, r'^k must have shape \[2, 13, 2, 4\], got'),
        ({'k': 'bfloat16'}, '^k must be float32, got bfloat16'),
        ({'v': (2, 12, 2, 3)}, r'^v must have shape \[2, 13, 2, V\], got'),
        ({'v': 'int32'}, '^v must be bfloat16 or float32, got int32'),
        ({'k_enc': None}, '^k_enc and v_enc must be given together'),
        ({'v_enc': None}, '^k_enc and v_enc must be given together'),
        (
            {'k_enc': (2, 8, 1, 4)},
            r'^k_enc must have shape \[2, P, 2, 4\], got',
        ),
        ({'k_enc': 'bfloat16'}, '^k_enc must be float32, got bfloat16'),
        ({'k_enc': (2, 14, 2, 4)}, r'^k_enc must not be longer than q \(13\)'),
        (
            {'v_enc': (2, 7, 2, 3)},
            r'^v_enc must have shape \[2, 8, 2, 3\], got',
        ),
        ({'v_enc': 'bfloat16'}, '^v_enc must be float32, got bfloat16'),
        ({'prefix_len': (1,)}, r'^prefix_len must have shape \[2\], got \[1\]'),
        ({'prefix_len': 'float32'}, '^prefix_len must be int32, got float32'),
        (
            {'prefix_len': jnp.int32([9, 0])},
            r'^prefix_len must lie in \[0, P=8\]',
        ),
        (
            {'prefix_len': jnp.int32([0, -1])},
            r'^prefix_len must lie in \[0, P=8',
        ),
        (
            {'prefix_mask': jnp.ones((2, 8), bool)},
            '^prefix_len must be None if prefix_mask is given',
        ),
        (
            {'prefix_len': None, 'prefix_mask': jnp.ones((2, 13), bool)},
            r'^prefix_mask must have shape \[2, 8\], got \[2, 13\]',
        ),
        (
            {'prefix_len': None, 'prefix_mask': jnp.ones((2, 8))},
            '^prefix_mask must be bool, got float32',
        ),
        ({'segment_ids': (2, 12)}, r'^segment_ids must have shape \[2, 13\]'),
        ({'segment_ids': 'int8'}, '^segment_ids must be int32, got int8'),
        ({'mask': (13,)}, r'^mask must have shape \[2, 13\], got \[13\]'),
        ({'mask': 'int32'}, '^mask must be bool, got int32'),
        ({'prefix_len': 3}, r'^prefix_len must be an array \[2\], got 3$'),
        (
            {'feature_map': 'identity'},
            r'^initial_state.kv must have shape \[2, ',
        ),
    ],
)
def test_bad_arguments_are_named(change, message):
  arguments = testing.make_inputs() | {
      'segment_ids': jnp.zeros((2, L), jnp.int32),
      'mask': jnp.ones((2, L), bool),
  }
  for name, value in change.items():
    if isinstance(value, tuple):
      value = jnp.zeros(value, arguments[name].dtype)
    elif name in arguments and isinstance(value, str):
      value = arguments[name].astype(value)
    arguments[name] = value
  with pytest.raises(ValueError, match=message) as error:
    pallas_kernels.prefix_linear_attention(**arguments)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('field', 'x', 'message'),
    [
        (
            'kv',
            jnp.zeros((2, 2, 15, 4)),
            r'shape \[2, 2, 15, 3\], got \[2, 2, ',
        ),
        ('k', jnp.zeros((2, 2, 9)), r'shape \[2, 2, 15\], got \[2, 2, 9\]'),
        ('k', jnp.zeros((2, 2, 15), jnp.bfloat16), 'float32, got bfloat16'),
    ],
)
def test_a_bad_state_is_named(field, x, message):
  inputs = testing.make_inputs()
  inputs['initial_state'] = inputs['initial_state']._replace(**{field: x})
  with pytest.raises(ValueError, match=f'^initial_state.{field} .*{message}'):
    pallas_kernels.prefix_linear_attention(**inputs)


def test_an_empty_sequence_is_refused():
  q, k, v = (jnp.zeros((1, 0, 1, 2)),) * 3
  with pytest.raises(ValueError, match='at least one token'):
    pallas_kernels.prefix_linear_attention(q, k, v)


def test_what_no_implementation_takes_is_said_with_the_reasons(monkeypatch):
  def picky(*args, **kwargs):
    raise NotImplementedError('B must be 1')

  monkeypatch.setitem(api.IMPLEMENTATIONS, 'picky', picky)
  with pytest.raises(NotImplementedError, match='picky: B must be 1'):
    pallas_kernels.prefix_linear_attention(
        **testing.make_inputs(), implementation='picky'
    )
