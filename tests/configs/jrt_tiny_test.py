"""The tiny models can be compared: one recipe, about the same size."""

from flax import traverse_util
import pytest

from configs import attention_tiny
from configs import based_tiny
from configs import gdn_tiny
from configs import jrt_tiny
from configs import mamba2_tiny
from configs import prefix_gdn_tiny
from configs import prefix_mamba2_tiny
from jrt_jax import cost

CAUSAL = [based_tiny, attention_tiny, gdn_tiny, mamba2_tiny]
WITH_PREFIX = [jrt_tiny, prefix_gdn_tiny, prefix_mamba2_tiny]


def flat(config):
  return traverse_util.flatten_dict(config.to_dict(), sep='.')


def num_parameters(config):
  return sum(cost.parameters(config.model.to_dict()).values())


@pytest.mark.parametrize('other', WITH_PREFIX[1:] + CAUSAL)
def test_tiny_models_differ_in_their_layers_and_their_loss_alone(other):
  ours, theirs = flat(jrt_tiny.get_config()), flat(other.get_config())
  different = {
      key
      for key in ours
      if ours[key] != theirs[key]
      and not key.startswith(('model.gdn.', 'model.mamba2.'))
  }
  different -= {'model.rope_fraction', 'model.mixers', 'model.mlp_width'}
  loss = {'objective.name', 'prefix.name'}
  assert different == (loss if other in CAUSAL else set())


def test_tiny_models_have_about_the_same_number_of_parameters():
  sizes = [
      num_parameters(config.get_config()) for config in WITH_PREFIX + CAUSAL
  ]
  assert max(sizes) < 1.005 * min(sizes)
