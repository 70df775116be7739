"""Every mixer has the methods of the contract; models_test.py has its rules."""

import pkgutil

import pytest

from jrt_jax.cost.mixers import MIXERS
from jrt_jax.models.mixer import Mixer
from jrt_jax.models.mixer import PrefixMixer


@pytest.mark.parametrize('name', MIXERS)
def test_a_mixer_has_the_methods_that_its_facts_promise(
    name, make_build, tiny_config
):
  config = tiny_config()
  mixer = pkgutil.resolve_name(MIXERS[name].module)(
      make_build(width=config['width']), config
  )
  contract = PrefixMixer if MIXERS[name].reads_prefix else Mixer
  assert isinstance(mixer, contract)
