"""The models of this package: only tokens of the prompt can be prefix."""

from collections.abc import Iterator, Sequence
import contextlib

import jax
import numpy as np

from jrt_jax import generation
from jrt_jax.evaluation import scoring
from jrt_jax.evaluation.language_models import texts
from jrt_jax.evaluation.language_models.protocol import Completion
from jrt_jax.evaluation.language_models.protocol import Score

_COMPILED = '/jax/core/compile/backend_compile_duration'


class Jrt:
  """A `LanguageModel` for models that were trained with this package.

  An empty prompt is read as the id that ends a document.

  Args:
    model: a model from `generation.load`.
    name: the name in results.
    batch_size: how many prompts are read at once.
    short_prompt, long_prompt: see `generation.GenerationSettings`; nothing is
      truncated.

  Raises:
    ValueError: an option is out of range.
  """

  max_length = None  # states have a constant size, and caches grow
  unit = 'tokens'

  def __init__(
      self,
      model: generation.Model,
      *,
      name: str,
      batch_size: int = 8,
      short_prompt: str | None = None,
      long_prompt: str = 'head',
  ):
    self.model, self.name = model, name
    kind = jax.devices()[0].device_kind
    self.device = 'CPU' if kind == 'cpu' else kind
    self._settings = scoring.ScoringSettings(
        batch_size, short_prompt, long_prompt
    )

  def encode(self, text: str) -> list[int]:
    return self.model.tokenizer.encode(text).tolist()

  def decode(self, ids: Sequence[int]) -> str:
    return self.model.tokenizer.decode(ids)

  def generate(
      self, prompts: Sequence[str], *, max_tokens: int, stop: Sequence[str] = ()
  ) -> list[Completion]:
    settings = generation.GenerationSettings(
        max_tokens=max_tokens,
        stop=tuple(stop),
        short_prompt=self._settings.short_prompt,
        long_prompt=self._settings.long_prompt,
    )
    size = self._settings.batch_size
    return texts.in_batches(
        lambda batch: self._continue(batch, min(size, len(prompts)), settings),
        [self.model.context(self.encode(prompt)) for prompt in prompts],
        length=len,
        batch_size=size,
        what='generating',
    )

  def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
    ids = [texts.encode_pair(self.encode, *pair) for pair in pairs]
    found = scoring.score(
        self.model,
        [(self.model.context(c), np.array(x, np.int32)) for c, x in ids],
        self._settings,
    )
    return [Score(*score, len(x)) for score, (_, x) in zip(found, ids)]

  def _continue(self, prompts, size, settings):
    """Continues a batch; its last prompt pads it to a constant shape."""
    rows = prompts + prompts[-1:] * (size - len(prompts))
    continuation = self._read(rows, settings)
    continuation.finish()
    counts = [len(row) for row in rows]
    seconds = texts.shares(continuation.read_seconds, counts)
    found = continuation.completions[: len(prompts)]
    return [Completion(x.text, *row) for x, *row in zip(found, counts, seconds)]

  def _read(self, rows, settings):
    """Reads prompts, and times it: again, if programs were compiled."""
    with _compilations() as compiled:
      continuation = generation.Continuation(self.model, rows, settings)
    if not compiled:
      return continuation
    del continuation  # frees its states
    return generation.Continuation(self.model, rows, settings)


def load(
    workdir: str,
    *,
    tokenizer: str | None = None,
    batch_size: int = 8,
    short_prompt: str | None = None,
    long_prompt: str = 'head',
) -> Jrt:
  """Returns the model of a workdir, as `Jrt` and `generation.load` describe."""
  return Jrt(
      generation.load(workdir, tokenizer=tokenizer),
      name=f'workdir:{workdir}',
      batch_size=batch_size,
      short_prompt=short_prompt,
      long_prompt=long_prompt,
  )


@contextlib.contextmanager
def _compilations() -> Iterator[list[str]]:
  """Yields a list that gets an item for each program that is compiled."""
  found = []

  def listen(event, *_, **unused):
    del unused
    found.extend([event] * (event == _COMPILED))

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    yield found
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
