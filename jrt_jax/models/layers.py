"""The parts that every block has, and how weights start."""

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
  """How the layers of one model are made: shared by all of its modules."""

  width: int  # E
  dtype: jnp.dtype  # of activations and products; parameters are float32
  residual_dtype: jnp.dtype  # of the residual stream
  norm_eps: float
  init: Callable  # of weights
  init_out: Callable  # of weights that write to the residual stream
  rngs: nnx.Rngs

  def linear(self, inputs: int, outputs: int) -> nnx.Linear:
    """Maps [..., inputs] to [..., outputs]."""
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=False,
        dtype=self.dtype,
        kernel_init=self.init,
        dot_general=_dot_general,
        rngs=self.rngs,
    )

  def projections(
      self, inputs: int, count: int, outputs: int, *, bias=False
  ) -> 'Projections':
    """Maps [..., inputs] to `count` arrays [..., outputs]."""
    return Projections(
        inputs,
        (count, outputs),
        use_bias=bias,
        dtype=self.dtype,
        kernel_init=self.init,
        rngs=self.rngs,
    )

  def linear_out(self, inputs: int, *, bias=False) -> 'ProjectionOut':
    """A projection back to the residual stream."""
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
  """Weights start as in GPT-2: residual outputs smaller by sqrt(2 layers)."""
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
  """Projections of one input, stacked in a matrix [E, n, I].

  So each of them can be sharded. Where that is done, what they map to is stacked
  too. It is not elsewhere: it would be transposed for the products of the
  backward pass.
  """

  def __call__(
      self, x: jax.Array, *, apart: bool = False
  ) -> tuple[jax.Array, ...]:
    """Maps [..., E] to n arrays [..., I].

    With `apart`, and always on a CPU, where it is faster, each has a product of
    its own, and their derivatives need not be written into one array: where
    each is made for itself.
    """
    n, _ = self.out_features
    if _is_shared():
      stacked = super().__call__(x)  # sliced: moveaxis would transpose it
      return tuple(stacked[..., i, :] for i in range(n))
    if apart or jax.default_backend() == 'cpu':
      return tuple(self._product(x, i, n) for i in range(n))
    return tuple(jnp.split(self._product(x), n, axis=-1))

  def _product(self, x, part=0, parts=1):
    """With one of the equal `parts` of all columns."""
    kernel = self.kernel[...].reshape(x.shape[-1], parts, -1)[:, part]
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    y = _dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
    if self.bias is None:
      return y
    bias = self.bias[...].reshape(parts, -1)[part]
    return y + bias.astype(self.dtype)


class ProjectionOut(nnx.Linear):
  """A projection whose result is added to the residual stream.

  That is not rounded to fewer bits than the stream has. So a GPU adds it within
  the product, which writes the sum in place of the stream.
  """

  def __init__(self, *args, residual_dtype, **kwargs):
    super().__init__(*args, **kwargs)
    self.out_dtype = jnp.promote_types(self.dtype, residual_dtype)

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., inputs] to [..., outputs] in the wider of both dtypes.

    Where devices share the inputs it is rounded to `dtype`, as they exchange it.
    """
    if _is_shared() or self.out_dtype == self.dtype:
      return super().__call__(x)
    x, kernel = x.astype(self.dtype), self.kernel[...].astype(self.dtype)
    y = _product(x, kernel, self.out_dtype)
    return y if self.bias is None else y + self.bias[...].astype(self.dtype)


def _is_shared():
  """Whether devices share heads and MLPs."""
  return jax.sharding.get_abstract_mesh().shape.get('tensor', 1) > 1


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x, kernel, dtype):
  """x @ kernel in a wider dtype, but not its derivatives."""
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
  """[..., E] by [E, I], as linear layers call it."""
  if jax.default_backend() == 'cpu' and not _is_shared():
    return _matmul_on_cpu(x, kernel)
  return lax.dot_general(x, kernel, dimensions, **options)


@jax.custom_vjp
def _matmul_on_cpu(x, kernel):
  """[..., E] by [E, I]; the cotangent of the kernel is computed as it lies.

  JAX multiplies for its transpose. On a CPU, XLA transposes both one of the
  factors for that and the result, which takes a quarter of the time of an MLP of
  width 128.
  """
  return x @ kernel


def _matmul_vjp(residuals, dy):
  x, kernel = residuals
  rows = tuple(range(x.ndim - 1))
  dkernel = lax.dot_general(x, dy, ((rows, rows), ((), ())))
  return dy @ kernel.T, dkernel


_matmul_on_cpu.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _matmul_vjp)
