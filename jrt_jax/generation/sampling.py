"""How the next token is drawn from its logits."""

import jax
import jax.numpy as jnp


def sample(
    logits: jax.Array, key: jax.Array, *, temperature: float, num_ids: int
) -> jax.Array:
  """Draws int32 [B] from float32 logits [B, V], never an id >= num_ids.

  Args:
    logits: float32 [B, V].
    key: a random key.
    temperature: divides the logits; 0 takes the likeliest id.
    num_ids: how many ids the tokenizer has.
  """
  logits = logits[:, :num_ids]
  if temperature == 0:
    return jnp.argmax(logits, axis=-1)
  return jax.random.categorical(key, logits / temperature)
