"""Language models behind an OpenAI-compatible server (`/v1/completions`).

vLLM, SGLang, llama.cpp, TGI and others have this interface.
"""

from collections.abc import Callable, Sequence
import math
from multiprocessing import pool as pool_lib
from typing import Any

from jrt_jax.data import tokenizers
from jrt_jax.evaluation.language_models import echo as echo_lib
from jrt_jax.evaluation.language_models import json_client
from jrt_jax.evaluation.language_models import texts
from jrt_jax.evaluation.language_models.protocol import Completion
from jrt_jax.evaluation.language_models.protocol import NoLogLikelihoods
from jrt_jax.evaluation.language_models.protocol import Score
from jrt_jax.reporting.progress import progress_bar
from jrt_jax.schema import Anything
from jrt_jax.schema import AnyOf
from jrt_jax.schema import Fields
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Text
from jrt_jax.schema import Value
from jrt_jax.schema import Whole

_MOST = 2**24  # a bound for the items of any list
_MOST_STOPS = 4  # stop texts that OpenAI's own server accepts


def _object(keys, **optional):
  return Fields(keys, optional=optional, others=Anything())


def _or_null(value: Value) -> Value:
  return AnyOf(OneOf(None), value)


_COUNT = _or_null(Whole(0, _MOST))
_MODELS = _object(
    {'data': ListOf(_object({'id': Text()}, max_model_len=_COUNT), 0, _MOST)}
)
_TEXT = _object(
    {'choices': ListOf(_object({'text': Text(_MOST)}), 1, _MOST)},
    usage=_or_null(_object({}, prompt_tokens=_COUNT)),
)


class Server:
  """A `LanguageModel` behind HTTP, with one request for each prompt.

  The API key is read from the environment variable JRT_JAX_API_KEY, if it is
  set. The server counts the tokens of prompts (`usage`). The time to read a
  prompt is unknown, because requests wait for each other in the server.

  Log-likelihoods are those that the server returns for the tokens of a prompt
  (`echo` with `logprobs`); few servers do so.

  Args:
    url: 'http://HOST:PORT/v1', or 'http://HOST:PORT/v1#NAME' if the server has
      several models.
    tokenizer: the tokenizer.json of the model; without it, words are counted.
    batch_size: how many requests are sent at once.
    timeout: seconds in which the server must send something.

  Raises:
    FileNotFoundError, ValueError: the server does not answer or does not have
      the model, the tokenizer does not exist, or an option is out of range.
  """

  device = 'unknown'

  def __init__(
      self,
      url: str,
      *,
      tokenizer: str | None = None,
      batch_size: int = 4,
      timeout: float = 600.0,
  ):
    if batch_size < 1 or not timeout > 0:
      raise ValueError(
          'batch_size and timeout must be positive, got'
          f' {batch_size} and {timeout:g}'
      )
    self._url, _, name = url.partition('#')
    self._batch_size = batch_size
    self._tokenizer = tokenizers.load(tokenizer) if tokenizer else texts.Words()
    self.unit = 'tokens' if tokenizer else 'words'
    self._client = json_client.JsonClient(self._url, timeout=timeout)
    self._model, self.max_length = self._find(name)
    self.name = f'{self._url}#{self._model}'

  def encode(self, text: str) -> list[int]:
    return [int(i) for i in self._tokenizer.encode(text)]

  def decode(self, ids: Sequence[int]) -> str:
    return self._tokenizer.decode(ids)

  def generate(
      self, prompts: Sequence[str], *, max_tokens: int, stop: Sequence[str] = ()
  ) -> list[Completion]:
    complete = lambda prompt: self._complete(prompt, max_tokens, stop)
    return self._for_each(complete, prompts, 'generating')

  def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
    return self._for_each(self._score, pairs, 'scoring')

  def _find(self, name):
    """Returns the name of the model and its `max_length`."""
    try:
      served = self._client.ask('/models', _MODELS)['data']
    except json_client.Refused as error:
      if not name:
        raise ValueError(
            f'{error}; the URL must be http://HOST:PORT/v1, with #NAME if the server'
            ' does not list its models'
        ) from error
      return name, None  # the first request will show whether it exists
    found = {model['id']: model.get('max_model_len') for model in served}
    if not name and len(found) == 1:
      (name,) = found
    if name not in found:
      raise ValueError(
          f'{self._url}#NAME must name one of {", ".join(sorted(found))}, got'
          f' {name!r}'
      )
    return name, found[name]

  def _complete(self, prompt, max_tokens, stop):
    body = {'max_tokens': max(max_tokens, 1)}  # many refuse 0
    if stop:
      body['stop'] = [*stop][:_MOST_STOPS]
    answer = self._ask(prompt, body)
    text = answer['choices'][0]['text'] if max_tokens else ''
    tokens = (answer.get('usage') or {}).get('prompt_tokens')
    if tokens is None:
      tokens = len(self.encode(prompt))
    return Completion(texts.before_stop(text, stop), tokens, math.nan)

  def _score(self, pair):
    context, continuation = pair
    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    if not kept:
      raise ValueError(
          'a context must have at least one token for a server to score, got'
          ' none'
      )
    if not continuation:
      return Score(0.0, True, 0)
    # The one new token is not used, but many servers refuse to generate none.
    body = {'max_tokens': 1, 'echo': True, 'logprobs': 1}
    try:
      choice, *_ = self._ask(kept + continuation, body)['choices']
      echo = echo_lib.Echo(choice, kept + continuation)
      if self.unit == 'tokens':
        _, ids = texts.encode_pair(self.encode, kept, continuation)
        return echo.score(len(ids))
      return echo.score(echo.count(continuation))
    except (json_client.Refused, echo_lib.NoEcho) as error:
      raise NoLogLikelihoods(
          f'{self._url} must return the log-likelihoods of a prompt (echo with'
          f' logprobs) for this task: {error}'
      ) from error

  def _ask(self, prompt, body):
    given = {'model': self._model, 'prompt': prompt, 'temperature': 0}
    return self._client.ask('/completions', _TEXT, body=given | body)

  def _for_each(
      self, ask: Callable[[Any], Any], items: Sequence[Any], what: str
  ) -> list[Any]:
    """Sends a few requests at once; returns the answers in order."""
    with pool_lib.ThreadPool(self._batch_size) as pool:
      answers = pool.imap(ask, items)
      return [*progress_bar(answers, total=len(items), desc=what)]


load = Server
