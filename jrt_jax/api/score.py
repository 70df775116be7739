"""Log-likelihoods of answers."""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np

from jrt_jax.api import arguments
from jrt_jax.api.arguments import Text
from jrt_jax.evaluation import scoring
from jrt_jax.evaluation.language_models import texts as texts_lib
from jrt_jax.generation.model import Model


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
  """The log-likelihood of an answer after its context.

  Attributes:
    log_likelihood: the sum over all m tokens of the answer, in nats; 0 if m =
      0.
    is_greedy: whether each token is the likeliest, so that `generate` would
      write the answer at temperature 0.
    num_tokens: m.
    tokens: int32 [m], the ids.
    token_log_likelihoods: float32 [m], the log-likelihood of each token after
      all earlier ones, in nats.
  """

  log_likelihood: float
  is_greedy: bool
  num_tokens: int
  tokens: np.ndarray = dataclasses.field(repr=False)
  token_log_likelihoods: np.ndarray = dataclasses.field(repr=False)

  @property
  def perplexity(self) -> float:
    """exp(−log_likelihood / m), per token and not per word; NaN if m = 0."""
    if not self.num_tokens:
      return math.nan
    return float(np.exp(-self.log_likelihood / self.num_tokens))


def score(
    model: Model,
    contexts: Text | Sequence[Text],
    answers: Text | Sequence[Text],
    reading: str,
    settings: scoring.ScoringSettings,
) -> Score | list[Score]:
  """Scores an answer to each context; see `TextModel.score`.

  Raises:
    ValueError: the numbers of answers and contexts differ, an argument is not a
      text, or an id is unknown.
  """
  contexts, one_context = arguments.as_list('contexts', contexts)
  answers, one_answer = arguments.as_list('answers', answers)
  if one_context:
    contexts *= len(answers)
  elif one_answer:
    answers *= len(contexts)
  contexts = arguments.read(contexts, reading)
  if len(contexts) != len(answers):
    raise ValueError(
        f'answers must be one for each of {len(contexts)} contexts, got'
        f' {len(answers)}'
    )
  pairs = [_ids(model, *pair) for pair in zip(contexts, answers)]
  scores = [
      Score(*found.total, len(answer), answer, found.log_likelihoods)
      for found, (_, answer) in zip(
          scoring.score_tokens(model, pairs, settings), pairs
      )
  ]
  return scores[0] if one_context and one_answer else scores


def _ids(model, context, answer):
  """The ids, int32 [n > 0] and [m]; two texts are encoded as one."""
  if isinstance(context, str) and isinstance(answer, str):
    encode = model.tokenizer.encode
    context, answer = texts_lib.encode_pair(
        lambda text: encode(text).tolist(), context, answer
    )
    return model.context(context), np.array(answer, np.int32)
  context, answer = (arguments.ids(model, x) for x in (context, answer))
  return model.context(context), answer
