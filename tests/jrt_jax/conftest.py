"""A model small enough to compile in a second."""

import pytest

from configs import base


@pytest.fixture(scope='session')
def tiny_config():
  """A function that returns `config.model` of a small model."""

  def make(**overrides):
    return {
        **base.get_config().model.to_dict(),
        'mixers': ('conv', 'pla', 'swa', 'la', 'pla'),
        'width': 16,
        'num_heads': 2,
        'mlp_width': 16,
        'vocab_size': 20,
        'vocab_multiple': 8,
        'mask_id': 19,
        'feature_map': {'name': 'taylor_exp', 'feature_dim': 4},
        'window': 5,
        'init_std': 0.3,  # large enough for every token to matter
        'dtype': 'float32',
        **overrides,
    }

  return make
