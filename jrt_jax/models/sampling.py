"""Draws the next token from its logits."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Changes of the logits before ids are drawn by their softmax probabilities.

  Attributes:
    temperature: divides the logits; 0: always the likeliest id.
    top_k: only the k likeliest ids can be drawn; 0: all.
    top_p: only the likeliest ids that together have this probability can be
      drawn; 1: all.
    repetition_penalty: positive logits of ids that have occurred are divided
      by it, negative ones multiplied (Keskar et al. 2019,
      https://arxiv.org/abs/1909.05858); 1: no penalty.

  Raises:
    ValueError: a value is out of range.
  """

  temperature: float = 0.0
  top_k: int = 0
  top_p: float = 1.0
  repetition_penalty: float = 1.0

  def __post_init__(self):
    for name, fits, wanted in (
        ('temperature', self.temperature >= 0, 'at least 0'),
        ('top_k', self.top_k >= 0, 'at least 0'),
        ('top_p', 0 < self.top_p <= 1, 'in (0, 1]'),
        ('repetition_penalty', self.repetition_penalty > 0, 'positive'),
    ):
      if not fits:
        raise ValueError(f'{name} must be {wanted}, got {getattr(self, name)}')


# For text that people read: the likeliest text of small models is blank or
# repeats itself (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751).
# No top_p, since every step would have to sort the whole vocabulary.
FOR_TEXT = Sampling(temperature=0.7)


def sample(
    logits: jax.Array,
    keys: jax.Array,
    sampling: Sampling,
    *,
    num_ids: int,
    seen: jax.Array | None = None,
) -> jax.Array:
  """Draws ids, int32 [B], below num_ids.

  Args:
    logits: float32 [B, V].
    keys: a random key for each row, [B].
    sampling: how to draw.
    num_ids: number of ids of the tokenizer.
    seen: bool [B, num_ids], ids that have occurred in each row; None: none.
  """
  logits = logits[:, :num_ids]
  if seen is not None and sampling.repetition_penalty != 1:
    penalty = sampling.repetition_penalty
    less = jnp.where(logits > 0, logits / penalty, logits * penalty)
    logits = jnp.where(seen, less, logits)
  if sampling.temperature == 0:
    return jnp.argmax(logits, axis=-1)
  logits /= sampling.temperature
  if 0 < sampling.top_k < num_ids:
    least = jax.lax.top_k(logits, sampling.top_k)[0][:, -1:]
    logits = jnp.where(logits < least, -jnp.inf, logits)
  if sampling.top_p < 1:
    logits = _nucleus(logits, sampling.top_p)
  return jax.vmap(jax.random.categorical)(keys, logits)


def _nucleus(logits, top_p):
  """Keeps the smallest set of likeliest ids whose probability reaches top_p.

  Source: Holtzman et al. 2020, https://arxiv.org/abs/1904.09751.
  """
  ordered = jnp.sort(logits, axis=-1, descending=True)
  probability = jax.nn.softmax(ordered)
  before = jnp.cumsum(probability, axis=-1) - probability
  least = jnp.where(before < top_p, ordered, jnp.inf).min(axis=-1)
  return jnp.where(logits < least[:, None], -jnp.inf, logits)
