"""Trained feature maps; each head has its own parameters."""

from collections.abc import Callable

from flax import nnx
import jax
from jax.nn import initializers
import jax.numpy as jnp

from jrt_jax.models.feature_maps.base import FeatureMap
from jrt_jax.models.feature_maps.base import Settings

_EXPANSION = 4  # hidden units of `Mlp` over D


class HeadLinear(nnx.Module):
  """A linear layer for each head: [..., H, inputs] to [..., H, outputs]."""

  def __init__(
      self, kernel: Callable, H: int, inputs: int, outputs: int, *, rngs, bias
  ):
    self.kernel = nnx.Param(kernel(rngs.params(), (H, inputs, outputs)))
    self.bias = nnx.Param(jnp.zeros((H, outputs))) if bias else None

  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.kernel[...].astype(x.dtype)
    y = jnp.einsum('...hi,hio->...ho', x, kernel)
    return y if self.bias is None else y + self.bias[...].astype(x.dtype)


class Hedgehog(FeatureMap):
  """[softmax(Wx), softmax(-Wx)], where W is initially the identity; F = 2D.

  Source: Zhang et al. 2024, https://arxiv.org/abs/2402.04347.
  """

  learned = True

  def __init__(self, settings: Settings):
    D = settings.head_dim
    super().__init__(settings, width=2 * D, sign='positive')
    self.linear = HeadLinear(
        _identities, settings.num_heads, D, D, rngs=settings.rngs, bias=False
    )

  def _features(self, x):
    x = self.linear(x)
    return jnp.concatenate([jax.nn.softmax(x), jax.nn.softmax(-x)], axis=-1)


class Mlp(FeatureMap):
  """softplus(W₂ g(W₁x + b₁) + b₂), 4D hidden units; F = `num_features`.

  g is the tanh approximation of GELU; softplus makes weights positive.

  Source: the student report, section 4.2 (learnable MLP); softplus is ours.
  """

  learned = True

  def __init__(self, settings: Settings):
    H, D, F = settings.num_heads, settings.head_dim, settings.num_features
    super().__init__(settings, width=F, sign='positive')
    kernel = initializers.lecun_normal(batch_axis=0)
    options = {'rngs': settings.rngs, 'bias': True}
    self.fc1 = HeadLinear(kernel, H, D, _EXPANSION * D, **options)
    self.fc2 = HeadLinear(kernel, H, _EXPANSION * D, F, **options)

  def _features(self, x):
    hidden = jax.nn.gelu(self.fc1(x), approximate=True)
    return jax.nn.softplus(self.fc2(hidden))


def _identities(key, shape):
  del key
  return jnp.broadcast_to(jnp.eye(*shape[1:]), shape)
