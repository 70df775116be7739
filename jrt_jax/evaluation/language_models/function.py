"""A Python function as a language model."""

from collections.abc import Callable, Sequence
import importlib
import math
import operator
import reprlib

from jrt_jax.evaluation.language_models import fingerprints
from jrt_jax.evaluation.language_models import texts
from jrt_jax.evaluation.language_models.protocol import Completion
from jrt_jax.evaluation.language_models.protocol import NoLogLikelihoods
from jrt_jax.evaluation.language_models.protocol import Score
from jrt_jax.reporting.progress import progress_bar


class Function:
  """A `LanguageModel` that calls a function from a prompt to its continuation.

  The returned text is cut before a stop text and to `max_tokens`. The function
  may have attributes: `encode(text)` and `decode(ids)`, without which words are
  counted; `max_length`; `device`, a text; and `log_likelihood(pairs)`, which
  returns a (log_likelihood, is_greedy, num_tokens) for each pair.

  Args:
    function: a function of a text, called once for each prompt, in order.
    name: the name in results.
    fingerprint: differs between functions of the same name.

  Raises:
    ValueError: the function has only one of `encode` and `decode`; later, the
      function or its `log_likelihood` returns something else.
  """

  def __init__(
      self,
      function: Callable[[str], str],
      *,
      name: str,
      fingerprint: str | None = None,
  ):
    self._function, self.name = function, name
    self.fingerprint = fingerprint
    self.max_length = getattr(function, 'max_length', None)
    self.device = str(getattr(function, 'device', 'unknown'))
    if hasattr(function, 'encode') != hasattr(function, 'decode'):
      raise ValueError(f'{name} must have both encode and decode, or neither')
    tokenizer = function if hasattr(function, 'encode') else texts.Words()
    self.unit = getattr(tokenizer, 'unit', 'tokens')
    self.encode, self.decode = tokenizer.encode, tokenizer.decode

  def generate(
      self, prompts: Sequence[str], *, max_tokens: int, stop: Sequence[str] = ()
  ) -> list[Completion]:
    counts = [len(self.encode(prompt)) for prompt in prompts]
    longest = max(counts, default=0)
    texts.check_length(self.name, longest, max_tokens, self.max_length)
    bar = progress_bar(prompts, desc='generating')
    return [
        Completion(self._continue(prompt, max_tokens, stop), count, math.nan)
        for prompt, count in zip(bar, counts)
    ]

  def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
    if not hasattr(self._function, 'log_likelihood'):
      raise NoLogLikelihoods(
          f'{self.name} must have an attribute log_likelihood for this task, a'
          ' function of pairs; it has none'
      )
    return self._checked(self._function.log_likelihood(pairs), len(pairs))

  def _checked(self, found, count):
    """Returns `count` scores; checks the result of a user's function."""
    try:
      scores = [
          Score(float(x), bool(y), operator.index(z)) for x, y, z in found
      ]
      is_right = len(scores) == count and all(
          math.isfinite(score.log_likelihood) for score in scores
      )
      cause = None
    except (TypeError, ValueError) as error:
      is_right, cause = False, error
    if not is_right:
      raise ValueError(
          f'{self.name}.log_likelihood must return a (log_likelihood, is_greedy,'
          f' num_tokens), numbers that are finite, for each of {count} pairs,'
          f' got {reprlib.repr(found)}'
      ) from cause
    return scores

  def _continue(self, prompt, max_tokens, stop):
    text = self._function(prompt)
    if not isinstance(text, str):
      raise ValueError(
          f'{self.name} must return a text, got {type(text).__name__}'
      )
    text = texts.before_stop(text, stop)
    ids = self.encode(text)
    return text if len(ids) <= max_tokens else self.decode(ids[:max_tokens])


def load(place: str) -> Function:
  """Returns the function 'package.module:attribute'.

  Raises:
    ValueError: there is no such function.
  """
  module, _, attribute = place.partition(':')
  wanted = f'python:{place} must be python:package.module:attribute'
  if not module or not attribute:
    raise ValueError(wanted)
  try:
    source = function = importlib.import_module(module)
    for name in attribute.split('.'):
      function = getattr(function, name)
  except (ImportError, AttributeError) as error:
    raise ValueError(
        f'{wanted}, but one of them does not exist: {error}'
    ) from error
  if not callable(function):
    raise ValueError(
        f'{wanted}, a function from a prompt to its continuation, got'
        f' {type(function).__name__}'
    )
  return Function(
      function,
      name=f'python:{place}',
      fingerprint=fingerprints.of_module(source),
  )
