"""How likely a model finds an answer."""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from jrt_jax.api import arguments
from jrt_jax.evaluation import scoring
from jrt_jax.evaluation.language_models import texts as texts_lib
from jrt_jax.generation.model import Model


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
  """How likely a model finds an answer after its context.

  Attributes:
    log_likelihood: of all m tokens of the answer together, in nats; 0 if m = 0.
    is_greedy: whether each of them is the likeliest there, so that `generate`
      would write the answer at temperature 0.
    num_tokens: m.
    tokens: int32 [m], the ids.
    token_log_likelihoods: float32 [m], of each of them after those before, in
      nats.
  """

  log_likelihood: float
  is_greedy: bool
  num_tokens: int
  tokens: np.ndarray = dataclasses.field(repr=False)
  token_log_likelihoods: np.ndarray = dataclasses.field(repr=False)

  @property
  def perplexity(self) -> float:
    """exp(−log_likelihood / m): of a token, not of a word; NaN if m = 0."""
    if not self.num_tokens:
      return math.nan
    return float(np.exp(-self.log_likelihood / self.num_tokens))


def score(
    model: Model,
    contexts: Sequence[str | np.ndarray],
    answers: Sequence[str | np.ndarray],
    settings: scoring.ScoringSettings,
) -> list[Score]:
  """Scores the answer to each context, as `TextModel.score` describes.

  Raises:
    ValueError: there are not as many answers as contexts, or an id is unknown.
  """
  if len(contexts) != len(answers):
    raise ValueError(
        f'answers must be one for each of {len(contexts)} contexts, got'
        f' {len(answers)}'
    )
  pairs = [_ids(model, *pair) for pair in zip(contexts, answers)]
  return [
      Score(*found.total, len(answer), answer, found.log_likelihoods)
      for found, (_, answer) in zip(
          scoring.score_tokens(model, pairs, settings), pairs
      )
  ]


def _ids(model, context, answer):
  """Int32 [n > 0] and [m]; texts are encoded as one."""
  if isinstance(context, str) and isinstance(answer, str):
    encode = model.tokenizer.encode
    context, answer = texts_lib.encode_pair(
        lambda text: encode(text).tolist(), context, answer
    )
    return model.context(context), np.array(answer, np.int32)
  context, answer = (arguments.ids(model, x) for x in (context, answer))
  return model.context(context), answer
