"""The activations of layers."""

from collections.abc import Sequence

import numpy as np

from jrt_jax.api import arguments
from jrt_jax.api.arguments import Text
from jrt_jax.evaluation.language_models import texts as texts_lib
from jrt_jax.generation import activations
from jrt_jax.generation import prompt_segments
from jrt_jax.generation.model import Model


def hidden(
    model: Model,
    texts: Text | Sequence[Text],
    layer: int | None,
    reading: str,
    batch_size: int,
) -> np.ndarray | list[np.ndarray]:
  """Returns float32 [n, E] for each text; see `TextModel.hidden`.

  Raises:
    ValueError: there is no such layer, or an argument is not a text with tokens.
  """
  texts, is_single = arguments.as_list('texts', texts)
  texts = arguments.read(texts, reading)
  N = len(model.config['model']['mixers'])
  if layer is None:
    layer = N + 1
  elif arguments.whole('layer', layer, 0) > N:
    raise ValueError(
        f'layer must be None or from 0 to {N}, as the model has {N} layers,'
        f' got {layer}'
    )
  rows = [
      prompt_segments.of_prompt(model, model.encode(text)) for text in texts
  ]
  found = texts_lib.in_batches(
      lambda rows: activations.of_layer(model, rows, layer)[: len(rows)],
      rows,
      length=lambda row: sum(len(segment.tokens) for segment in row),
      batch_size=batch_size,
      what='reading',
  )
  return found[0] if is_single else found
