"""How prompts are read and continued."""

import dataclasses

from jrt_jax.models.sampling import Sampling


@dataclasses.dataclass(frozen=True)
class GenerationSettings:
  """How prompts are read and continued.

  Attributes:
    sampling: how tokens are sampled.
    max_tokens: the most tokens of a continuation; 0 only reads the prompt.
    stop: texts; a continuation ends before the first of them.
    seed: row b uses seed + b, whatever the other rows are, unless it is given
      its own seed.
    short_prompt: a name in SHORT_PROMPTS, for prompts shorter than the prefix.
      None: 'trim', or 'left_pad_reference' for models with
      pad_mask='reference'.
    iterate_every: with short_prompt='iterate', the whole text is read again
      each time this many tokens were generated, until it fills the prefix.
    long_prompt: a name in LONG_PROMPTS, for prompts longer than the prefix.

  Raises:
    ValueError: a value is out of range.
  """

  sampling: Sampling = Sampling()
  max_tokens: int = 256
  stop: tuple[str, ...] = ()
  seed: int = 0
  short_prompt: str | None = None
  iterate_every: int = 1
  long_prompt: str = 'head'

  def __post_init__(self):
    if self.max_tokens < 0:
      raise ValueError(f'max_tokens must be at least 0, got {self.max_tokens}')
    if not 0 <= self.seed < 2**31:
      raise ValueError(f'seed must lie in [0, 2**31), got {self.seed}')
    if self.iterate_every < 1:
      raise ValueError(
          f'iterate_every must be at least 1, got {self.iterate_every}'
      )
    if '' in self.stop:
      raise ValueError("stop must hold texts, got '', which is everywhere")
