"""How many pairs can be recalled from the state of a feature map, untrained.

Keys have RMS 1 times a scale; a value is one of 64. The state is the sum of
φ(key) valueᵀ, as in linear attention. A key is recalled if its value has the
largest product with φ(key)·state. This ranks kernels without training, which
would change the scale of keys and improve learned maps.

The maps have different numbers of features F, and so states of different sizes:
compare rows of similar F.
"""

from typing import NamedTuple

from flax import nnx
import jax.numpy as jnp
import numpy as np

from jrt_jax.evaluation.synthetic import probes
from jrt_jax.models import feature_maps
import pallas_kernels

HEAD_DIM = 16
NUM_VALUES = 64

_PAIRS = (16, 32, 64, 128, 256)  # n
_NUM_STATES = 20  # states for each n


# The arguments of `features` for each row.
_ROWS = {
    'linear': dict(name='linear'),
    'relu': dict(name='relu'),
    'gelu': dict(name='gelu'),
    'elu_plus_one': dict(name='elu_plus_one'),
    'hedgehog, untrained': dict(name='hedgehog'),
    'gaussian_prf': dict(name='gaussian_prf'),
    'gaussian_prf, wider': dict(name='gaussian_prf', num_features=608),
    'gaussian_rff': dict(name='gaussian_rff'),
    'symmetric_power': dict(name='symmetric_power'),
    'polynomial': dict(name='polynomial'),
    'taylor_exp, keys x 0.5': dict(name='taylor_exp', scale=0.5),
    'taylor_exp': dict(name='taylor_exp'),
    'taylor_exp, keys x 2': dict(name='taylor_exp', scale=2.0),
}
_CENTRED = 'control: elu_plus_one less its mean'
_OTHERS = 'control: symmetric_power, values of others'
_NORMALIZED = 'relative change, normalised'
_UNNORMALIZED = 'control: not normalised'


class Pairs(NamedTuple):
  """Keys and values of N states."""

  keys: np.ndarray  # float32 [N, n, D]
  values: np.ndarray  # int [N, n]


def draw(rng: np.random.Generator, num_states: int, num_pairs: int) -> Pairs:
  """Draws keys of RMS 1 in random directions, and independent values."""
  keys = rng.standard_normal((num_states, num_pairs, HEAD_DIM), np.float32)
  keys /= np.sqrt(np.mean(keys**2, axis=-1, keepdims=True))
  return Pairs(keys, rng.integers(NUM_VALUES, size=keys.shape[:2]))


def features(
    keys: np.ndarray,
    name: str,
    *,
    seed: int,
    scale: float = 1.0,
    num_features: int = 152,
) -> np.ndarray:
  """Maps keys [N, n, D] to φ [N, n, F].

  Args:
    keys: keys of RMS 1.
    name: the name of the map.
    seed: the seed of its projections and weights.
    scale: the scale of the keys.
    num_features: F, for maps that can have any F.
  """
  feature_map = feature_maps.build(
      name,
      head_dim=HEAD_DIM,
      num_heads=1,
      rngs=nnx.Rngs(seed),
      num_features=num_features,
  )
  heads = jnp.asarray(scale * keys)[:, :, None]
  return np.asarray(feature_map.features(heads))[:, :, 0]


def recalled(phi: np.ndarray, written: np.ndarray, values: np.ndarray) -> float:
  """Returns the share of keys that are recalled.

  Args:
    phi: features of the keys, [N, n, F].
    written: int [N, n], the values that are written.
    values: int [N, n], the values that should be recalled.
  """
  state = np.swapaxes(phi, 1, 2) @ np.eye(NUM_VALUES, dtype=phi.dtype)[written]
  return float(((phi @ state).argmax(axis=-1) == values).mean())


def change_by_repetition(pairs: Pairs) -> tuple[float, float]:
  """Returns the relative change of outputs if all pairs are written twice.

  They are written by prefix linear attention with `taylor_exp`.

  Returns:
    the change of outputs that are divided by the sum of their weights, and the
    change of outputs that are not.
  """
  N, n, _ = pairs.keys.shape
  one_hot = np.eye(NUM_VALUES, dtype=np.float32)[pairs.values]
  # Both have the same length: if pairs are written once, the rest is padding.
  k, v = (
      jnp.asarray(np.tile(x, (2, 2, 1)))[:, :, None]
      for x in (pairs.keys, one_hot)
  )
  mask = np.ones((2 * N, 2 * n), bool)
  mask[:N, n:] = False
  taylor = pallas_kernels.feature_maps.taylor_exp()
  _, (kv, k_sum) = pallas_kernels.prefix_linear_attention(
      k, k, v, mask=jnp.asarray(mask), feature_map=taylor, return_state=True
  )
  phi, sums, weights = map(
      np.asarray, (taylor.features(k[:, :n, 0]), kv[:, 0], k_sum[:, 0])
  )
  sums = phi @ sums
  means = sums / (phi @ weights[:, :, None])

  def change(y):
    once, twice = y[:N], y[N:]
    return float(abs(twice - once).max() / abs(once).max())

  return change(means), change(sums)


def _measure(rng: np.random.Generator) -> probes.Figures:
  keys, values = draw(rng, _NUM_STATES, max(_PAIRS))
  seed = int(rng.integers(2**31))
  phi = {row: features(keys, seed=seed, **_ROWS[row]) for row in _ROWS}
  figures = {}
  for row in _ROWS:
    figures[row, 'F'] = phi[row].shape[-1]
    figures |= _curve(row, phi[row], values, values)
  elu, power = phi['elu_plus_one'], phi['symmetric_power']
  figures |= _curve(_CENTRED, elu, values, values, centred=True)
  figures |= _curve(_OTHERS, power, np.roll(values, 1, axis=0), values)
  figures |= {('chance', f'n = {n}'): 1 / NUM_VALUES for n in _PAIRS}
  changes = change_by_repetition(Pairs(keys[:, :64], values[:, :64]))
  for row, change in zip((_NORMALIZED, _UNNORMALIZED), changes, strict=True):
    figures[row, 'n = 64, written twice'] = change
  return figures


def _curve(row, phi, written, values, *, centred=False):
  """The share that is recalled of the first n pairs, for each n."""
  figures = {}
  for n in _PAIRS:
    some = phi[:, :n]
    if centred:
      some = some - some.mean(axis=1, keepdims=True)
    figures[row, f'n = {n}'] = recalled(some, written[:, :n], values[:, :n])
  return figures


def _expectations(figures: probes.Seeds) -> list[probes.Expectation]:
  differences = (
      ('symmetric_power', 'taylor_exp', 256, 0.15),
      ('taylor_exp', 'taylor_exp, keys x 0.5', 64, 0.5),
      ('linear', 'relu', 64, 0.3),
      ('linear', 'elu_plus_one', 64, 0.5),
      (_CENTRED, 'elu_plus_one', 64, 0.3),
      ('gaussian_rff', 'gaussian_prf', 64, 0.3),
      ('gaussian_prf, wider', 'gaussian_prf', 64, 0.1),
  )
  at = lambda row, n: figures[row, f'n = {n}']
  expectations = [
      probes.Expectation(
          f'{more} - {less}, n = {n}', at(more, n) - at(less, n), low=low
      )
      for more, less, n, low in differences
  ]
  change = lambda row: figures[row, 'n = 64, written twice']
  return [
      *expectations,
      probes.Expectation(
          'gaussian_rff, n = 128', at('gaussian_rff', 128), 0.95
      ),
      probes.Expectation(f'{_OTHERS}, n = 64', at(_OTHERS, 64), high=0.05),
      probes.Expectation(_NORMALIZED, change(_NORMALIZED), high=1e-5),
      probes.Expectation(_UNNORMALIZED, change(_UNNORMALIZED), 0.99, 1.01),
  ]


PROBE = probes.Probe(
    'Capacity: how many of n pairs the state of each feature map recalls',
    _measure,
    _expectations,
)
