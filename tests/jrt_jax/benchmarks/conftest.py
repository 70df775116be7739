"""The config of a run that takes a second."""

import pytest

from configs import base


@pytest.fixture(scope='session')
def small_run(tiny_config):
  """A function that returns the config of a small run, plain."""

  def make(mixers=('pla', 'swa'), **keys):
    config = base.get_config().to_dict()
    model = tiny_config(mixers=mixers, init_std=0.02)
    if 'pla' not in mixers:
      config['prefix']['name'] = 'none'
      config['objective']['name'] = 'next_token'
    sizes = {'batch_size': 4, 'sequence_length': 64}
    mesh = {'data': 1, 'fsdp': 1, 'tensor': 1}
    return {**config, 'model': model, 'mesh': mesh, **sizes, **keys}

  return make
