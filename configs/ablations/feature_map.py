r"""Feature maps of prefix linear attention, compared at equal state size.

python -m jrt_jax.train --config=configs/ablations/feature_map.py:hedgehog \
    --workdir=runs/hedgehog --config.data.source=shards \
    --config.data.path=shards/pile \
    --config.data.tokenizer=shards/pile/tokenizer.json

trains JRT-RNN 360M with another map; `feature_map.py:hedgehog@jrt_tiny` does so
with the model for two CPU cores. The size of the state, H F (V + 1) floats a
layer, limits recall. Therefore the width D of queries and keys is chosen such
that each map has about as many features F as taylor_exp with D = 16 (for
hybrid_heads the mean over heads, of which half are hedgehog).

    map                D  F
    linear           152  152
    relu             152  152
    gelu             152  152
    gelu_shifted     152  152
    elu_plus_one     152  152
    polynomial        16  153
    taylor_exp        16  153
    symmetric_power   17  153
    gaussian_rff      16  152
    gaussian_prf      16  152
    mlp               16  152
    hedgehog          76  152
    hybrid_heads      21  147.5
    mixture           14  148

A larger D needs more parameters: 9 % more at 360M for D = 152. Sources: the
student report, section 4.2; https://arxiv.org/abs/2402.18668, which compares
recall with the size of the state.
"""

from configs import jrt_360m
from configs import jrt_tiny

_SIZES = {'jrt_360m': jrt_360m, 'jrt_tiny': jrt_tiny}

FEATURE_DIMS = {
    'linear': 152,
    'relu': 152,
    'gelu': 152,
    'gelu_shifted': 152,
    'elu_plus_one': 152,
    'polynomial': 16,
    'taylor_exp': 16,
    'symmetric_power': 17,
    'gaussian_rff': 16,
    'gaussian_prf': 16,
    'mlp': 16,
    'hedgehog': 76,
    'hybrid_heads': 21,
    'mixture': 14,
}


def get_config(choice='taylor_exp'):
  """Returns the config of a map, or of MAP@SIZE."""
  name, _, size = choice.partition('@')
  for what, value, names in (
      ('map', name, FEATURE_DIMS),
      ('size', size or 'jrt_360m', _SIZES),
  ):
    if value not in names:
      raise ValueError(
          '--config=configs/ablations/feature_map.py:MAP@SIZE must name a'
          f' {what} of {sorted(names)}, got {value!r}'
      )
  config = _SIZES[size or 'jrt_360m'].get_config()
  config.model.feature_map.name = name
  config.model.feature_map.feature_dim = FEATURE_DIMS[name]
  return config
