"""The facts of `pla` and `la`: linear attention with and without a prefix."""

from jrt_jax.cost import feature_maps
from jrt_jax.cost import weight
from jrt_jax.cost.mixers.base import head_width
from jrt_jax.cost.mixers.base import ITEM_BYTES
from jrt_jax.cost.mixers.base import of_heads
from jrt_jax.cost.weight import Weight

_CHUNK = 128  # tokens of a chunk of `chunked`


def _weights(config, *, reads_prefix):
  E, H = config['width'], config['num_heads']
  head_width(E, H)
  keys, values = (E, H * config['feature_map']['feature_dim']), (E, E)
  weights = {
      'proj_q.kernel': weight.kernel(keys, weight.IN),
      'proj_k.kernel': weight.kernel(keys, weight.IN),
      'proj_v.kernel': weight.kernel(values, weight.IN),
      'out_proj.kernel': weight.kernel(values, weight.OUT),
  }
  if reads_prefix:
    weights |= {
        'proj_k_enc.kernel': weight.for_prefix(weight.kernel(keys, weight.IN)),
        'proj_v_enc.kernel': weight.for_prefix(
            weight.kernel(values, weight.IN)
        ),
    }
  for i, group in enumerate(_groups(config, reads_prefix)):
    own = _of_group(config, group, reads_prefix)
    if _reader(config, reads_prefix) != 'sum':
      own['reader.log_strength'] = weight.bias(
          (group.num_heads,), weight.HEAD_AXES
      )
    weights |= {f'groups.{i}.{name}': x for name, x in own.items()}
  return weights


def _of_group(config, group, reads_prefix):
  """Returns the parameters of a group: its feature maps, and its output norm.

  The feature map is applied to queries, keys and keys of the prefix, unless
  these have a separate map. The first axis is the head.
  """
  shared = reads_prefix and not group.separate
  uses = {'feature_map': (2.0, float(shared))}
  if group.separate:
    uses['feature_map_enc'] = (0.0, 1.0)
  weights = {}
  for name, (tokens, prefix) in uses.items():
    for key, x in group.map.weights.items():
      if x.uses:
        x = x._replace(uses=tokens * x.uses, prefix_uses=prefix * x.uses)
      weights[f'{name}.{key}'] = x._replace(axes=weight.HEAD_AXES)
  if _normalizes_outputs(config, group, reads_prefix):
    V = head_width(config['width'], config['num_heads'])
    weights['gain'] = Weight((group.num_heads, V), weight.HEAD_AXES)
  return weights


def _state_bytes(config, length):
  """The bytes of the sums of φ(k) vᵀ and of φ(k), in float32."""
  del length
  V = head_width(config['width'], config['num_heads'])
  return 4 * _features(config) * (V + 1)


def _products(config, length, prefix_fraction, *, reads_prefix):
  """Those of S += φ(k) vᵀ and φ(q)·S, and of adding the prefix to S.

  Other readers than the sum also add up φ(k) φ(k)ᵀ. A ridge regression
  factorises it, and solves twice with the triangular factor; a contraction
  multiplies the sum by it.
  """
  V = head_width(config['width'], config['num_heads'])
  products = _features(config) * V * (2 + reads_prefix * prefix_fraction)
  reader = _reader(config, reads_prefix)
  if reader != 'sum' and prefix_fraction:
    for F in _features_of_heads(config):
      once = V + F / 6 if reader == 'ridge' else V
      products += F * F * (prefix_fraction + once / length)
  return products


def _kept(config, capacity, *, reads_prefix):
  """Queries, keys and values, also of the prefix; then outputs and normalisers.

  `chunked` also keeps the float32 state of each chunk.
  """
  E, H = config['width'], config['num_heads']
  D, room = config['feature_map']['feature_dim'], reads_prefix * capacity
  bytes_each = ITEM_BYTES[config['dtype']]
  projected = (1 + room) * (H * D + E) + H * D
  kept = projected + E + room * E + H * 4 / bytes_each
  if config['implementation'] == 'chunked':
    kept += _state_bytes(config, 0) / bytes_each / _CHUNK
  return projected, kept


def _groups(config, reads_prefix):
  return feature_maps.groups(
      config['feature_map'], config['num_heads'], reads_prefix=reads_prefix
  )


def _kept_of_row(config):
  """The float32 factor and solution of each head's ridge regression.

  Those of a contraction have the same sizes: Σ φ(k) φ(k)ᵀ and the sum.
  """
  if _reader(config, True) == 'sum':
    return 0
  V = head_width(config['width'], config['num_heads'])
  return 4 * sum(F * (F + V) for F in _features_of_heads(config))


def _features(config):
  return sum(_features_of_heads(config))


def _features_of_heads(config):
  """F of each head."""
  groups = _groups(config, False)
  return [x.map.width for x in groups for _ in range(x.num_heads)]


def _reader(config, reads_prefix):
  """What queries read of the prefix."""
  return config['pla']['prefix_reader'] if reads_prefix else 'sum'


def _normalizes_outputs(config, group, reads_prefix):
  normalizer = feature_maps.resolve_normalizer(
      config['normalizer'], group.map.sign, _reader(config, reads_prefix)
  )
  return normalizer == 'output_rms'


LA, PLA = of_heads(
    'jrt_jax.models.prefix_linear_attention:la',
    'jrt_jax.models.prefix_linear_attention:pla',
    weights=_weights,
    state_bytes=_state_bytes,
    products=_products,
    kept=_kept,
    model_heads=True,
    linear_attention=True,
)
PLA = PLA._replace(kept_of_row=_kept_of_row, settings=('pla.prefix_reader',))
