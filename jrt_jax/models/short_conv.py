"""Causal depthwise convolutions over a few tokens."""

from flax import nnx
import jax
from jax.nn import initializers
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jrt_jax.models import parallel
from jrt_jax.models.context import Context
from jrt_jax.models.layers import Build
from pallas_kernels import sharding


class ShortConv(nnx.Module):
  """Each channel has K taps of its own, the last one on the token itself.

  It never reaches over the start of a document. Its decode state is its input of
  the last K - 1 tokens, [B, K - 1, I], zero where there was no token.
  """

  def __init__(
      self, build: Build, channels: int, *, kernel: int, bias: bool = False
  ):
    limit = kernel**-0.5  # as PyTorch starts a convolution
    init = initializers.uniform(2 * limit)
    taps = init(build.rngs.params(), (kernel, channels)) - limit
    self.kernel = nnx.Param(taps)  # [K, I]
    self.bias = nnx.Param(jnp.zeros(channels)) if bias else None

  def __call__(
      self,
      u: jax.Array,
      context: Context,
      *,
      state: jax.Array | None = None,
      return_state: bool = False,
  ):
    """Maps [B, L, I] to [B, L, I], and with `return_state` the state.

    Starts from `state`, which was returned for the tokens before, if given.
    """
    taps = self.kernel[...].astype(u.dtype)
    K = len(taps)
    if state is None:
      shifted = [_shifted_within(u, shift, context) for shift in range(K)]
    else:  # tokens stand side by side
      shifted = _shifted_after(state, u, K, context.sequence_axes)
    y = self._add_bias(sum(taps[K - 1 - s] * shifted[s] for s in range(K)))
    if not return_state:
      return y
    tail = [context.at_last(u) for u in reversed(shifted[: K - 1])]
    return y, jnp.stack(tail, axis=1)

  def step(self, u: jax.Array, tail: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps one token [B, I] and the state to [B, I] and the next state."""
    recent = jnp.concatenate([tail, u[:, None]], axis=1)
    taps = self.kernel[...].astype(u.dtype)
    y = self._add_bias(jnp.einsum('bki,ki->bi', recent, taps))
    return y, recent[:, 1:]

  def _add_bias(self, y):
    return y if self.bias is None else y + self.bias[...].astype(y.dtype)


class HeadsConv(ShortConv):
  """A convolution and SiLU, of channels that belong to heads.

  Its state is [B, I, K - 1], so that devices share its second axis, as they
  share that of the heads' own states.
  """

  def __call__(
      self, u: jax.Array, context: Context, *, state: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """Maps [B, L, I] to [B, L, I] and the state."""
    before = None if state is None else jnp.swapaxes(state, 1, 2)
    y, tail = super().__call__(u, context, state=before, return_state=True)
    return jax.nn.silu(y), jnp.swapaxes(tail, 1, 2)

  def step(self, u: jax.Array, tail: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps one token [B, I] and the state to [B, I] and the next state."""
    y, tail = super().step(u, jnp.swapaxes(tail, 1, 2))
    return jax.nn.silu(y), jnp.swapaxes(tail, 1, 2)

  def empty(self, rows: int, dtype: jnp.dtype) -> jax.Array:
    """Returns the state before the first token, in the dtype of the inputs."""
    K, I = self.kernel.shape
    return jnp.zeros((rows, I, K - 1), dtype)


def _shifted_after(tail, u, K, axes):
  """u_{i - s} for each shift s < K, where `tail`, [B, K - 1, I], is before u.

  `axes` are the mesh axes that divide the positions of u.
  """

  def shifted(tail, u):
    longer = jnp.concatenate([tail, u], axis=1)
    return [longer[:, K - 1 - s :][:, : u.shape[1]] for s in range(K)]

  def of_device(tail, u):
    return shifted(parallel.before(u, K - 1, axes, tail), u)

  if not axes:
    return shifted(tail, u)
  places = parallel.spec(
      u.shape, (parallel.BATCH_AXES, axes, parallel.HEAD_AXES)
  )
  rows, _, channels = places
  specs = PartitionSpec(rows, None, channels), places
  return sharding.on_shards(of_device, specs, [places] * K)(tail, u)


def _shifted_within(u, shift, context):
  """u_{i - shift} where that is a token of i's document, else 0."""
  u = jnp.pad(u, ((0, 0), (shift, 0), (0, 0)))[:, : u.shape[1]]
  same = context.same_document(shift)
  return u if same is None else jnp.where(same[..., None], u, 0)
