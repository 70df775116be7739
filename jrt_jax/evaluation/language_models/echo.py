"""Log-likelihoods from OpenAI-compatible servers (`echo`)."""

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

_MOST = 2**24  # a bound for the items of any list
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
  """The answer does not have the log-likelihoods of the prompt."""


class Echo:
  """The tokens of a prompt and one new token, with their log-likelihoods.

  Args:
    choice: an item of `choices` in the server's answer.
    prompt: the prompt that was sent.
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
    """The number of tokens at the end of the prompt that spell a text."""
    spelt = ''
    for count, token in enumerate(reversed(self._tokens), 1):
      spelt = token + spelt
      if len(spelt) >= len(continuation):
        break
    if not spelt.endswith(continuation):
      raise NoEcho(
          'its tokens do not spell the prompt; give the tokenizer.json of the'
          ' model to count them'
      )
    return count

  def score(self, count: int) -> Score:
    """The score of the last tokens of the prompt."""
    log_probs = self._log_probs[-count:]
    if len(log_probs) < count or None in log_probs:
      raise NoEcho(f'it has fewer log-likelihoods than the {count} tokens')
    is_greedy = all(
        log_prob >= max((likeliest or {}).values(), default=math.inf)
        for log_prob, likeliest in zip(log_probs, self._likeliest[-count:])
    )
    return Score(math.fsum(log_probs), is_greedy, count)
