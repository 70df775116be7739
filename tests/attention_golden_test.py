"""Holds the Transformer baseline to a plain float64 NumPy implementation.

The one here reads a row at a time, a head and a query at a time, and turns
pairs of features as complex numbers. Head widths have odd halves, as 70 has.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.models.context import Context

B, L, H, M, LAYERS, VOCAB, SPLIT = 2, 9, 2, 10, 2, 20, 4
LENGTHS = (4, 1, 4)  # of documents that are packed into a row
TOKENS = np.random.default_rng(0).integers(VOCAB, size=(B, L)).astype(np.int32)
WEIGHTS = np.random.default_rng(1).normal(size=(B, L, VOCAB))  # of a loss


def turned(x, position, fraction):
  """The features [D] of one head at a position, as RoPE rotates them."""
  rotated = int(fraction * len(x))
  pairs = (rotated + 1) // 2
  y = x.copy()
  for i in range(pairs):
    angle = position / 10_000 ** (2 * i / rotated)
    z = (x[i] + 1j * x[i + pairs]) * (np.cos(angle) + 1j * np.sin(angle))
    y[i], y[i + pairs] = z.real, z.imag
  return y


def softmax(x):
  e = np.exp(x - x.max())
  return e / e.sum()


def attention(x, qkv, out, fraction):
  """Maps one document [L, E] to [L, E]; qkv is [E, 3, E]."""
  D = len(out) // H
  heads = []
  for h in range(H):
    q, k, v = (x @ qkv[:, i, h * D : (h + 1) * D] for i in range(3))
    q, k = (
        np.array([turned(row, p, fraction) for p, row in enumerate(z)])
        for z in (q, k)
    )
    rows = [
        softmax(k[: i + 1] @ q[i] / D**0.5) @ v[: i + 1] for i in range(len(x))
    ]
    heads.append(np.array(rows))
  return np.concatenate(heads, axis=1) @ out


def rms_norm(x, scale):
  return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)


def swiglu(x, fc1, fc2):
  value, gate = x @ fc1[:, 0], x @ fc1[:, 1]
  return value * gate / (1 + np.exp(-gate)) @ fc2


def transformer(params, tokens, fraction):
  """Returns the logits [L, VOCAB] of one row of tokens [L]."""
  table = params['embedding.embedding'][:VOCAB]
  x = table[tokens]
  for i in range(LAYERS):
    of_layer = functools.partial('layers.{}.{}'.format, i)
    p = lambda name: params[of_layer(name)]
    x = x + attention(
        rms_norm(x, p('mixer_norm.scale')),
        p('mixer.qkv.kernel'),
        p('mixer.out_proj.kernel'),
        fraction,
    )
    x = x + swiglu(
        rms_norm(x, p('mlp_norm.scale')),
        p('mlp.fc1.kernel'),
        p('mlp.fc2.kernel'),
    )
  return rms_norm(x, params['final_norm.scale']) @ table.T


class Case(NamedTuple):
  """A model, and its parameters in float32 and float64."""

  merge: callable
  params: dict
  exact: dict
  fraction: float

  def logits(self, exact=None):
    return np.stack(
        [transformer(exact or self.exact, t, self.fraction) for t in TOKENS]
    )


@pytest.fixture(
    scope='module',
    params=[
        (6, 1.0),
        pytest.param((14, 1.0), marks=pytest.mark.slow),
        (14, 0.5),
    ],
)
def case(request):
  D, fraction = request.param
  config = base.get_config().model.to_dict() | {
      'mixers': ('attention',) * LAYERS,
      'width': H * D,
      'num_heads': H,
      'mlp_width': M,
      'vocab_size': VOCAB,
      'vocab_multiple': 8,
      'rope_fraction': fraction,
      'dtype': 'float32',
  }
  merge, params = models.split(models.build(config))
  draw = np.random.default_rng(2).normal
  params = {  # scales that are not all 1, too
      n: jnp.float32(x + draw(scale=0.3, size=x.shape))
      for n, x in params.items()
  }
  exact = {n: np.float64(x) for n, x in params.items()}
  return Case(merge, params, exact, fraction)


def assert_near(actual, expected):
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_an_attention_layer_reads_each_packed_document_as_it_is_defined(case):
  width = case.params['final_norm.scale'].size
  x = np.random.default_rng(3).normal(size=(1, L, width))
  segment_ids = jnp.array([np.repeat(range(len(LENGTHS)), LENGTHS)])

  @jax.jit
  def read(params, x):
    mixer = case.merge(params).layers[0].mixer
    return mixer(x, Context(1, L, segment_ids=segment_ids))

  qkv, out = (
      case.exact[f'layers.0.mixer.{n}.kernel'] for n in ('qkv', 'out_proj')
  )
  documents = np.split(x[0], np.cumsum(LENGTHS)[:-1])
  expected = [attention(d, qkv, out, case.fraction) for d in documents]
  assert_near(read(case.params, jnp.float32(x))[0], np.concatenate(expected))


def test_norms_and_mlps_are_as_they_are_defined(case):
  width = case.params['final_norm.scale'].size
  x = np.random.default_rng(4).normal(size=(L, width))

  @jax.jit
  def read(params, x):
    model = case.merge(params)
    return model.final_norm(x), model.layers[0].mlp(x)

  norm, mlp = read(case.params, jnp.float32(x))
  fc1, fc2 = (case.exact[f'layers.0.mlp.{n}.kernel'] for n in ('fc1', 'fc2'))
  assert_near(norm, rms_norm(x, case.exact['final_norm.scale']))
  assert_near(mlp, swiglu(x, fc1, fc2))


def test_logits_are_those_of_the_definition(case):
  logits = jax.jit(lambda params: case.merge(params)(TOKENS))(case.params)
  assert_near(logits, case.logits())


def test_prefill_and_decoding_give_the_logits_of_the_definition(case):

  @jax.jit
  def read(params):
    model = case.merge(params)
    first, state = model.prefill(TOKENS[:, :SPLIT], state_capacity=L)
    step = lambda state, t: model.decode_step(t, state)[::-1]
    _, rest = jax.lax.scan(step, state, TOKENS[:, SPLIT:].T)
    return jnp.concatenate([first[None], rest]).swapaxes(0, 1)

  assert_near(read(case.params), case.logits()[:, SPLIT - 1 :])


def test_gradients_are_the_finite_differences_of_the_definition(case):

  @jax.jit
  @jax.grad
  def gradient(params):
    return jnp.sum(WEIGHTS * case.merge(params)(TOKENS))

  rng = np.random.default_rng(5)
  for name, actual in gradient(case.params).items():
    x, direction = case.exact[name], rng.normal(size=actual.shape)
    ahead, behind = (
        np.sum(WEIGHTS * case.logits(case.exact | {name: x + step}))
        for step in (1e-5 * direction, -1e-5 * direction)
    )
    expected = (ahead - behind) / 2e-5
    slope = np.sum(np.float64(actual) * direction)
    size = np.linalg.norm(np.float64(actual)) * np.linalg.norm(direction)
    assert slope == pytest.approx(expected, abs=1e-5 * size), name
