"""A model as a function of its parameters, a flat dict."""

from collections.abc import Callable, Mapping
import functools
from typing import Any

from flax import nnx
import jax

from jrt_jax.models.language_model import LanguageModel

# The first vocab_size rows of the embedding, rounded to the dtype of products,
# so that they are not rounded anew for each token. Token lookups use float32.
ROUNDED_TABLE = 'embedding.rounded'


def build(config: Mapping[str, Any], seed: int = 0) -> LanguageModel:
  """Returns a model with initial weights; see `LanguageModel`."""
  return LanguageModel(config, rngs=nnx.Rngs(seed))


def split(
    model: LanguageModel,
) -> tuple[Callable[[Mapping[str, jax.Array]], LanguageModel], dict[str, Any]]:
  """Returns a function from parameters to the model, and the parameters.

  Parameters are a flat dict, `{'layers.0.mixer.in_proj.kernel': …}`. The
  function also accepts a `ROUNDED_TABLE` in it.
  """
  graph, state = nnx.split(model)
  variables = nnx.to_flat_state(state)
  paths = {'.'.join(map(str, path)): path for path, _ in variables}
  params = [variable.get_value() for _, variable in variables]

  def merge(params):
    params = dict(params)
    rounded = params.pop(ROUNDED_TABLE, None)
    flat = [(paths[name], nnx.Param(x)) for name, x in params.items()]
    model = nnx.merge(graph, nnx.from_flat_state(flat))
    model.rounded_table = rounded
    return model

  return merge, dict(zip(paths, params, strict=True))


def abstract(
    config: Mapping[str, Any],
) -> tuple[Callable[[Mapping[str, jax.Array]], LanguageModel], dict[str, Any]]:
  """As `split` of a new model, with shapes in place of parameters."""
  return split(nnx.eval_shape(functools.partial(build, config)))
