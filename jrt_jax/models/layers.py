"""Linear layers, norms and MLPs of all blocks, and their initial weights."""

from collections.abc import Callable
import functools
from typing import NamedTuple

from flax import nnx
import jax
from jax import lax
from jax.nn import initializers
import jax.numpy as jnp

from jrt_jax.models.rms_norm import RMSNorm


class Build(NamedTuple):
  """Makes the layers of one model."""

  width: int  # E
  dtype: jnp.dtype  # of activations and products; parameters are float32
  residual_dtype: jnp.dtype  # of the residual stream
  norm_eps: float
  init: Callable  # initializer of weights
  init_out: Callable  # initializer of weights that add to the residual stream
  rngs: nnx.Rngs

  def linear(
      self, inputs: int, outputs: int, *, zero: bool = False
  ) -> nnx.Linear:
    """Returns a layer from [..., inputs] to [..., outputs]; `zero`: its weights."""
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=False,
        dtype=self.dtype,
        kernel_init=initializers.zeros if zero else self.init,
        dot_general=_dot_general,
        rngs=self.rngs,
    )

  def projections(
      self, inputs: int, count: int, outputs: int, *, bias=False
  ) -> 'Projections':
    """Returns a layer from [..., inputs] to `count` arrays [..., outputs]."""
    return Projections(
        inputs,
        (count, outputs),
        use_bias=bias,
        dtype=self.dtype,
        kernel_init=self.init,
        rngs=self.rngs,
    )

  def linear_out(self, inputs: int, *, bias=False) -> 'ProjectionOut':
    """Returns a projection back to the residual stream."""
    return ProjectionOut(
        inputs,
        self.width,
        use_bias=bias,
        residual_dtype=self.residual_dtype,
        dtype=self.dtype,
        kernel_init=self.init_out,
        dot_general=_dot_general,
        rngs=self.rngs,
    )

  def norm(self) -> RMSNorm:
    return RMSNorm(
        self.width, epsilon=self.norm_eps, dtype=self.dtype, rngs=self.rngs
    )


def make_build(
    *, width, num_layers, dtype, residual_dtype, norm_eps, init_std, rngs
) -> Build:
  """Returns a Build with the initial weights of GPT-2.

  Weights that add to the residual stream are smaller by sqrt(2 * layers).
  """
  out_std = init_std / (2 * num_layers) ** 0.5
  return Build(
      width,
      jnp.dtype(dtype),
      jnp.dtype(residual_dtype),
      norm_eps,
      initializers.normal(init_std),
      initializers.normal(out_std),
      rngs,
  )


class Projections(nnx.LinearGeneral):
  """Several projections of one input, stacked in a matrix [E, n, I].

  Stacking allows to shard each of them. If they are sharded, the outputs are
  stacked too; otherwise they are not, since the backward pass would transpose
  them.
  """

  def __call__(
      self, x: jax.Array, *, apart: bool = False
  ) -> tuple[jax.Array, ...]:
    """Maps [..., E] to n arrays [..., I].

    With `apart`, and always on a CPU, where it is faster, each projection is a
    separate product. Use it if the derivatives of the outputs are computed
    separately, so that they need not be written into one array.
    """
    n, _ = self.out_features
    if _is_shared():
      stacked = super().__call__(x)  # sliced: moveaxis would transpose it
      return tuple(stacked[..., i, :] for i in range(n))
    if apart or jax.default_backend() == 'cpu':
      return tuple(self._product(x, i, n) for i in range(n))
    return tuple(jnp.split(self._product(x), n, axis=-1))

  def _product(self, x, part=0, parts=1):
    """Multiplies with one of the equal `parts` of all columns."""
    kernel = self.kernel[...].reshape(x.shape[-1], parts, -1)[:, part]
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    y = _dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
    if self.bias is None:
      return y
    bias = self.bias[...].reshape(parts, -1)[part]
    return y + bias.astype(self.dtype)


class ProjectionOut(nnx.Linear):
  """A projection whose result is added to the residual stream.

  The result is not rounded to fewer bits than the stream has. Therefore a GPU
  can do the addition within the product, in place.
  """

  def __init__(self, *args, residual_dtype, **kwargs):
    super().__init__(*args, **kwargs)
    self.out_dtype = jnp.promote_types(self.dtype, residual_dtype)

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., inputs] to [..., outputs] in the wider of both dtypes.

    If devices divide the inputs, the result is rounded to `dtype`, since they
    exchange it.
    """
    if _is_shared() or self.out_dtype == self.dtype:
      return super().__call__(x)
    x, kernel = x.astype(self.dtype), self.kernel[...].astype(self.dtype)
    y = _product(x, kernel, self.out_dtype)
    return y if self.bias is None else y + self.bias[...].astype(self.dtype)


def _is_shared():
  """Whether devices divide heads and MLPs."""
  return jax.sharding.get_abstract_mesh().shape.get('tensor', 1) > 1


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x, kernel, dtype):
  """x @ kernel in a wider dtype; derivatives have the dtype of x."""
  return jnp.matmul(x, kernel, preferred_element_type=dtype)


def _product_forward(x, kernel, dtype):
  return _product(x, kernel, dtype), (x, kernel)


def _product_backward(dtype, kept, dy):
  del dtype
  x, kernel = kept
  dy = dy.astype(x.dtype)
  return dy @ kernel.T, jnp.einsum('...i,...o->io', x, dy)


_product.defvjp(_product_forward, _product_backward)


class SwiGLU(nnx.Module):
  """(x W_value ⊙ SiLU(x W_gate)) W_out; both input weights are one matrix."""

  def __init__(self, build: Build, *, mlp_width: int):
    self.fc1 = build.projections(build.width, 2, mlp_width)
    self.fc2 = build.linear_out(mlp_width)

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., E] to [..., E]."""
    value, gate = self.fc1(x)
    return self.fc2(value * jax.nn.silu(gate))


def _dot_general(x, kernel, dimensions, **options):
  """Multiplies [..., E] by [E, I], with the signature of `lax.dot_general`."""
  if jax.default_backend() == 'cpu' and not _is_shared():
    return _matmul_on_cpu(x, kernel)
  return lax.dot_general(x, kernel, dimensions, **options)


@jax.custom_vjp
def _matmul_on_cpu(x, kernel):
  """Multiplies [..., E] by [E, I] with a faster derivative of the kernel.

  JAX computes the transpose of this derivative. On a CPU, XLA then transposes a
  factor and the result, which takes a quarter of the time of an MLP of width
  128.
  """
  return x @ kernel


def _matmul_vjp(residuals, dy):
  x, kernel = residuals
  rows = tuple(range(x.ndim - 1))
  dkernel = lax.dot_general(x, dy, ((rows, rows), ((), ())))
  return dy @ kernel.T, dkernel


_matmul_on_cpu.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _matmul_vjp)
