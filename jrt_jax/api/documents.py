"""Documents that are read once, apart from each other, and asked together."""

from __future__ import annotations

from collections.abc import Collection
import typing

from jrt_jax import generation
from jrt_jax.api.state import State

if typing.TYPE_CHECKING:
  from jrt_jax.api.text_model import TextModel


class DocumentMemory(generation.DocumentMemory):
  """What a model has read of documents, to be asked in any combination.

  >>> import jrt_jax
  >>> lm = jrt_jax.load('builtin:jrt_2m')
  >>> memory = jrt_jax.DocumentMemory(lm)
  >>> memory.read({'a': 'The device is a blood glucose meter.', 'b': 'War.'})
  >>> memory.save('a', 'a.state')  # as large for a book
  >>> memory.state()
  <state of 1 text: 12 tokens read, 300,840 bytes each>
  >>> memory.remove('b')
  >>> state = memory.state()
  >>> lm.generate('The', state=state, turn='append_causal', max_tokens=6)
  ' and the same time. The'

  `jrt_jax.generation.DocumentMemory` says how documents are read, and what is
  kept of them.
  """

  def __init__(self, lm: TextModel):
    super().__init__(lm.model)
    self._lm = lm

  def state(self, names: Collection[str] | None = None) -> State:
    """Returns the state in which a text sees documents; None: all of them.

    Raises:
      ValueError: there is no document, or none of a name.
    """
    return State(self._lm, self.decode_state(names), is_single=True)
