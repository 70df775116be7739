import functools

import jax
import jax.numpy as jnp
import pytest

from configs import base
from jrt_jax import models
from jrt_jax.cost import kernels
from pallas_kernels.prefix_linear_attention import api
from pallas_kernels.prefix_linear_attention import mosaic_sm90
from pallas_kernels.prefix_linear_attention import mosaic_sm90_devices
from pallas_kernels.prefix_linear_attention import mosaic_sm90_widths

needs_mosaic = pytest.mark.skipif(
    jax.__version_info__ < (0, 11, 2), reason='the kernels need jax 0.11.2'
)


def model(**changes):
  """One layer of a model that the kernels can compute, but for `changes`."""
  config = base.get_config()
  config.model.mixers = ('pla',)
  config.model.update(width=128, num_heads=2, mlp_width=8, vocab_size=8)
  config.update_from_flattened_dict(
      {f'model.{k.replace("__", ".")}': x for k, x in changes.items()}
  )
  return config.model.to_dict()


def test_the_widths_are_those_of_the_kernels():
  assert kernels.VALUE_WIDTHS == mosaic_sm90_widths.VALUE_WIDTHS
  assert kernels.KEY_WIDTHS == mosaic_sm90_widths.KEY_WIDTHS


def asked(monkeypatch, config, **context):
  """Whether the kernels take a call of a model, up to their launch."""
  taken = []

  def attend(launch, segments, length, q, k, v, *_):
    taken.append(v.shape[-1])
    raise NotImplementedError('there is no GPU')

  monkeypatch.setattr(mosaic_sm90.segments, 'attend', attend)
  monkeypatch.setattr(mosaic_sm90_devices, 'no_gpu', lambda: None)
  # Another function, of which jax remembers no call.
  kernels_again = functools.partial(mosaic_sm90.mosaic_sm90)
  monkeypatch.setitem(api.IMPLEMENTATIONS, 'mosaic_sm90', kernels_again)
  config = {**config, 'implementation': kernels.KERNELS_OR_CHUNKED}
  merge, params = models.abstract(config)
  tokens = jax.ShapeDtypeStruct((1, 4), jnp.int32)
  jax.eval_shape(
      lambda params, tokens: merge(params)(tokens, **context), params, tokens
  )
  return taken[0] if taken else None


@needs_mosaic
@pytest.mark.parametrize(
    'changes, V',
    [
        ({}, 64),
        (dict(mixers=('conv', 'la')), 64),
        (dict(width=256), 128),
        (dict(width=224), 112),
        (dict(normalizer='sum'), 64),
        (dict(feature_map__name='hybrid_heads'), 64),
        (dict(mixers=('conv', 'swa')), None),
        (dict(width=160), 112),
        (dict(width=96), 64),
        (dict(width=512), None),
        (dict(dtype='float32'), None),
        (dict(normalizer='output_rms'), 64),
        (dict(normalizer='clamp'), 64),
        (dict(feature_map__feature_dim=8), 64),
        (dict(feature_map__feature_dim=24), None),
        (dict(feature_map__order=4), None),
        (dict(feature_map__name='polynomial'), None),
        (
            dict(
                feature_map__name='hybrid_heads',
                feature_map__parts=('relu', 'hedgehog'),
            ),
            None,
        ),
    ],
)
def test_the_models_it_names_are_those_of_which_the_kernels_take_a_call(
    monkeypatch, changes, V
):
  config = model(**changes)
  assert kernels.value_width(config) == V == asked(monkeypatch, config)


@needs_mosaic
def test_they_take_packed_documents_and_padding_too(monkeypatch):
  packed = {
      'segment_ids': jnp.array([[0, 0, 1, 1]]),
      'mask': jnp.array([[True, True, True, False]]),
  }
  assert asked(monkeypatch, model(), **packed) == 64
