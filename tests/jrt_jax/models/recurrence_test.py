"""Gated DeltaNet and Mamba-2 beside the layers of transformers, in PyTorch."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax.models import layers
from jrt_jax.models.context import Context
from jrt_jax.models.gated_delta_net import GatedDeltaNet
from jrt_jax.models.mamba2 import Mamba2
import pallas_kernels
from pallas_kernels import testing

pytestmark = pytest.mark.hf

B, L, E, H, D, V, K, EPS = 2, 70, 12, 4, 6, 8, 4, 1e-5


@pytest.fixture
def build():
  return layers.make_build(
      width=E,
      num_layers=1,
      dtype='float32',
      residual_dtype='float32',
      norm_eps=EPS,
      init_std=0.3,
      rngs=nnx.Rngs(0),
  )


@pytest.fixture
def x():
  return np.random.default_rng(0).standard_normal((B, L, E), np.float32)


def outputs(mixer, x):
  return jax.jit(lambda x: mixer(x, Context(B, L)))(x)


def kernel(linear):
  """[outputs, inputs], as PyTorch has it."""
  return np.asarray(linear.kernel[...]).T


def taps(*convolutions):
  """[channels, 1, K]."""
  stacked = [np.asarray(conv.kernel[...]).T for conv in convolutions]
  return np.concatenate(stacked)[:, None]


def load(module, **arrays):
  """Sets all parameters of a module of PyTorch."""
  torch = pytest.importorskip('torch')
  module.load_state_dict(
      {
          name.replace('__', '.'): torch.tensor(np.asarray(array))
          for name, array in arrays.items()
      }
  )
  return module.eval()


def by_head(*parts):
  """Rows of several projections, those of the first head first."""
  return np.concatenate(
      [part.reshape(H, -1, E) for part in parts], axis=1
  ).reshape(-1, E)


def test_the_operation_is_that_of_transformers():
  torch = pytest.importorskip('torch')
  theirs = pytest.importorskip(
      'transformers.models.qwen3_next.modeling_qwen3_next'
  )
  rng = np.random.default_rng(0)
  q, k = rng.standard_normal((2, B, L, H, D), np.float32)
  k /= np.linalg.norm(k, axis=-1, keepdims=True)
  v = rng.standard_normal((B, L, H, V), np.float32)
  decay = -rng.exponential(0.1, (B, L, H)).astype(np.float32)
  beta = rng.uniform(0.1, 1, (B, L, H)).astype(np.float32)
  state = rng.standard_normal((B, H, D, V), np.float32)
  arrays = map(torch.tensor, (q * D**0.5, k, v, decay, beta))
  expected = theirs.torch_chunk_gated_delta_rule(
      *arrays, initial_state=torch.tensor(state), output_final_state=True
  )
  actual = pallas_kernels.gated_delta_rule(
      q, k, v, decay, beta, initial_state=state, return_state=True
  )
  testing.assert_close(actual, tuple(x.numpy() for x in expected), 1e-5)


def test_gdn_is_the_layer_of_transformers(build, x):
  torch = pytest.importorskip('torch')
  theirs = pytest.importorskip(
      'transformers.models.qwen3_next.modeling_qwen3_next'
  )
  config = theirs.Qwen3NextConfig(
      hidden_size=E,
      linear_num_key_heads=H,
      linear_num_value_heads=H,
      linear_key_head_dim=D,
      linear_value_head_dim=V,
      linear_conv_kernel_dim=K,
      rms_norm_eps=EPS,
  )
  ours = GatedDeltaNet(
      build, num_heads=H, key_dim=D, value_dim=V, conv_kernel=K
  )
  ours.gain[...] = jnp.linspace(0.5, 2, V)
  projections = ours.proj_q, ours.proj_k, ours.proj_v, ours.proj_gate
  layer = load(
      theirs.Qwen3NextGatedDeltaNet(config, 0),
      in_proj_qkvz__weight=by_head(*map(kernel, projections)),
      in_proj_ba__weight=by_head(
          kernel(ours.proj_beta), kernel(ours.proj_decay)
      ),
      conv1d__weight=taps(ours.conv_q, ours.conv_k, ours.conv_v),
      A_log=ours.decay.A_log[...],
      dt_bias=ours.decay.dt_bias[...],
      norm__weight=ours.gain[...],
      out_proj__weight=kernel(ours.out_proj),
  )
  with torch.no_grad():
    expected = layer(torch.tensor(x)).numpy()
  testing.assert_close(outputs(ours, x), expected, 1e-5)


@pytest.mark.parametrize('groups', [1, 2])
def test_mamba2_is_the_layer_of_transformers(build, x, groups):
  torch = pytest.importorskip('torch')
  theirs = pytest.importorskip('transformers.models.mamba2.modeling_mamba2')
  config = theirs.Mamba2Config(
      hidden_size=E,
      expand=2,
      num_heads=4,
      head_dim=E // 2,
      state_size=D,
      n_groups=groups,
      conv_kernel=K,
      layer_norm_epsilon=EPS,
      num_hidden_layers=1,
      chunk_size=16,
  )
  ours = Mamba2(
      build,
      num_heads=config.num_heads,
      head_dim=config.head_dim,
      state_dim=D,
      num_groups=groups,
      conv_kernel=K,
  )
  ours.gain[...] = jnp.linspace(0.5, 2, 2 * E)
  ours.skip[...] = jnp.linspace(0.5, 2, config.num_heads)
  ours.conv_x.bias[...] = jnp.linspace(-1, 1, 2 * E)
  projections = ours.proj_gate, ours.proj_x, ours.proj_bc, ours.proj_dt
  biases = [np.asarray(conv.bias[...]) for conv in (ours.conv_x, ours.conv_bc)]
  layer = load(
      theirs.Mamba2Mixer(config, 0),
      in_proj__weight=np.concatenate([*map(kernel, projections)]),
      conv1d__weight=taps(ours.conv_x, ours.conv_bc),
      conv1d__bias=np.concatenate(biases),
      A_log=ours.decay.A_log[...],
      dt_bias=ours.decay.dt_bias[...],
      D=ours.skip[...],
      norm__weight=ours.gain[...],
      out_proj__weight=kernel(ours.out_proj),
  )
  with torch.no_grad():
    expected = layer(torch.tensor(x)).numpy()
  testing.assert_close(outputs(ours, x), expected, 1e-5)
