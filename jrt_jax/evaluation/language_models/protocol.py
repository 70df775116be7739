"""What tasks ask of a language model."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class Completion(NamedTuple):
  """How a prompt was continued.

  A batch is read at once. A prompt's part of that time is its part of the
  tokens: with a batch of one it is the latency of the prompt.
  """

  text: str  # ends before the first stop text
  prompt_tokens: int  # that were read, with those that the model puts around
  prefill_seconds: float  # of reading the prompt; nan where it is unknown


class Score(NamedTuple):
  """How likely a model finds a continuation."""

  log_likelihood: float  # natural, of all tokens together; 0 of none
  is_greedy: bool  # whether each token is the likeliest
  num_tokens: int  # of the continuation


class NoLogLikelihoods(ValueError):
  """A model continues texts, but does not tell how likely given ones are."""


@runtime_checkable
class LanguageModel(Protocol):
  """A model that continues texts.

  No result depends on what else is asked in the same call, nor on its order.
  One that can be told from others of its name has a `fingerprint`, a text or
  None, beside these attributes.

  Attributes:
    name: for results.
    max_length: tokens that a prompt and its continuation may have together;
      None: no bound.
    unit: what `encode` makes of a text: 'tokens', or 'words' where nothing
      tells the tokens of the model.
    device: what computes, as 'CPU' or 'NVIDIA H100 80GB HBM3'; 'unknown' where
      nothing tells.
  """

  name: str
  max_length: int | None
  unit: str
  device: str

  def encode(self, text: str) -> Sequence[int]:
    """Returns the ids of a text, without special ones around it."""

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids that `encode` has returned, or some of them."""

  def generate(
      self, prompts: Sequence[str], *, max_tokens: int, stop: Sequence[str] = ()
  ) -> list[Completion]:
    """Continues prompts by the likeliest tokens.

    Args:
      prompts: texts.
      max_tokens: a continuation has at most so many.
      stop: texts, before the first of which a continuation ends.

    Raises:
      ValueError: a prompt leaves no room for so many tokens.
    """

  def log_likelihood(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
    """Scores continuations of contexts.

    Args:
      pairs: of a context and what follows it. Spaces at the end of a context
        count as the start of what follows, where tokens have them.

    Raises:
      NoLogLikelihoods: the model cannot do that.
      ValueError: both together are longer than the model can read.
    """
