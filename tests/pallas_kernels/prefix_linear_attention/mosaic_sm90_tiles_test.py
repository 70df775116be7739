"""All tiles that are used or tried lower for CUDA."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

import pallas_kernels
from pallas_kernels.benchmarks import tuning
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles as module
from pallas_kernels.prefix_linear_attention.mosaic_sm90_devices import OPERATION

pytestmark = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)

TABLES = pathlib.Path(pallas_kernels.__file__).parent / 'tile_tables'


def tuned():
  """What devices have been found to run best, as (V, tiles)."""
  for path in sorted(TABLES.glob(f'{OPERATION}/*.json')):
    for key, entry in json.loads(path.read_text())['entries'].items():
      yield int(key.removeprefix('V')), module.Tiles.from_entry(entry)


def candidates():
  for part in 'forward', 'backward':
    for tiles in tuning.candidates(part):
      yield 64, tiles


@pytest.mark.parametrize(
    'V, tiles',
    [
        *tuned(),
        *(pytest.param(*x, marks=pytest.mark.slow) for x in candidates()),
    ],
    ids=lambda x: tuning.describe(x) if isinstance(x, module.Tiles) else x,
)
def test_tiles_lower_for_cuda(V, tiles):
  def gradients(q, v):
    op = lambda q, v: pallas_kernels.prefix_linear_attention(
        q, q, v, q, v, implementation='mosaic_sm90', tiles=tiles
    )
    y, vjp = jax.vjp(op, q, v)
    return vjp(y)

  shape = lambda width: jax.ShapeDtypeStruct((1, 256, 132, width), jnp.bfloat16)
  traced = jax.jit(gradients).trace(shape(16), shape(V))
  text = traced.lower(lowering_platforms=('cuda',)).as_text()
  assert text.count('custom_call @mosaic_gpu') == 4
