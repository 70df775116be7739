"""The interface of language models that tasks use."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class Completion(NamedTuple):
  """The continuation of a prompt.

  The time to read a batch is divided among its prompts in proportion to their
  tokens. With a batch of one it is the latency of the prompt.
  """

  text: str  # ends before the first stop text
  prompt_tokens: int  # tokens that were read, special tokens included
  prefill_seconds: float  # the time to read the prompt; nan if unknown


class Score(NamedTuple):
  """The likelihood of a continuation."""

  log_likelihood: float  # nats, of all tokens together; 0 without tokens
  is_greedy: bool  # whether each token is the likeliest
  num_tokens: int  # tokens of the continuation


class NoLogLikelihoods(ValueError):
  """The model generates texts, but cannot score given ones."""


@runtime_checkable
class LanguageModel(Protocol):
  """A model that continues texts.

  A result depends neither on the other items of the same call nor on their
  order. A model may also have a `fingerprint` (a text or None), which differs
  between models of the same name.

  Attributes:
    name: the name in results.
    max_length: the most tokens of a prompt and its continuation together; None:
      no bound.
    unit: what `encode` returns: 'tokens', or 'words' if the tokenizer of the
      model is not known.
    device: the device of the model, such as 'CPU' or 'NVIDIA H100 80GB HBM3';
      'unknown' if it is not known.
  """

  name: str
  max_length: int | None
  unit: str
  device: str

  def encode(self, text: str) -> Sequence[int]:
    """Returns the ids of a text, without special ones around it."""

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids; they are from `encode`, or a part of these."""

  def generate(
      self, prompts: Sequence[str], *, max_tokens: int, stop: Sequence[str] = ()
  ) -> list[Completion]:
    """Continues prompts with the likeliest tokens.

    Args:
      prompts: texts.
      max_tokens: the most tokens of a continuation.
      stop: texts; a continuation ends before the first of them.

    Raises:
      ValueError: a prompt and `max_tokens` exceed `max_length`.
    """

  def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
    """Scores continuations of contexts.

    Args:
      pairs: a context and its continuation each. With tokenizers whose tokens
        contain spaces, spaces at the end of a context are moved to the start of
        the continuation.

    Raises:
      NoLogLikelihoods: the model cannot score texts.
      ValueError: context and continuation together exceed `max_length`.
    """
