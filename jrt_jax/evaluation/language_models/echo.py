"""Log-likelihoods as OpenAI-compatible servers give them (`echo`)."""

import math
from typing import Any

from jrt_jax.evaluation.language_models.protocol import Score
from jrt_jax.schema import Anything
from jrt_jax.schema import AnyOf
from jrt_jax.schema import Fields
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real
from jrt_jax.schema import Text

_MOST = 2**24  # of anything
_LOGPROB = Real(-math.inf, 1e-3)
_NULL = OneOf(None)
_LOGPROBS = Fields(
    {
        'tokens': ListOf(Text(_MOST), 0, _MOST),
        'token_logprobs': ListOf(AnyOf(_NULL, _LOGPROB), 0, _MOST),
        'top_logprobs': ListOf(
            AnyOf(_NULL, Fields({}, others=_LOGPROB)), 0, _MOST
        ),
    },
    others=Anything(),
)


class NoEcho(ValueError):
  """An answer does not tell how likely the prompt was."""


class Echo:
  """The tokens of a prompt and of one more, and how likely each of them is.

  Args:
    choice: of the answer.
    prompt: that was asked for.
  """

  def __init__(self, choice: Any, prompt: str):
    try:
      _LOGPROBS.check('its logprobs', choice.get('logprobs'))
    except ValueError as error:
      raise NoEcho(str(error)) from error
    columns = [choice['logprobs'][name] for name in _LOGPROBS.keys]
    if not choice['text'].startswith(prompt) or len({*map(len, columns)}) > 1:
      raise NoEcho('it does not return the prompt')
    self._tokens, self._log_probs, self._likeliest = (x[:-1] for x in columns)

  def count(self, continuation: str) -> int:
    """How many of the last tokens of the prompt spell what it ends with."""
    spelt = ''
    for count, token in enumerate(reversed(self._tokens), 1):
      spelt = token + spelt
      if len(spelt) >= len(continuation):
        break
    if not spelt.endswith(continuation):
      raise NoEcho(
          'its tokens do not spell the prompt; with the tokenizer.json of the'
          ' model they are counted'
      )
    return count

  def score(self, count: int) -> Score:
    """Of the last tokens of the prompt."""
    log_probs = self._log_probs[-count:]
    if len(log_probs) < count or None in log_probs:
      raise NoEcho(f'it has fewer log-likelihoods than the {count} tokens')
    is_greedy = all(
        log_prob >= max((likeliest or {}).values(), default=math.inf)
        for log_prob, likeliest in zip(log_probs, self._likeliest[-count:])
    )
    return Score(math.fsum(log_probs), is_greedy, count)
