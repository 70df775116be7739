"""The contract of a mixer: what a layer, prefill and decoding ask of it.

A mixer is a line of `MIXERS` in `jrt_jax/cost/mixers/__init__.py`. The line
gives its facts, which `jrt_jax/cost/mixers/base.py` explains: its parameters and
how devices share them, the bytes of its state, its FLOPs, whether it reads a
prefix. `module` in these facts names a function of `layers.Build` and
`config.model` that returns an `nnx.Module` with the methods below. Nothing else
knows which mixer a layer has.

Arrays: x [B, L, E] are normalised activations, of B rows of L positions. The
`Context` says where a row has tokens, documents and a prefix.

The state of a mixer is what it keeps of the tokens that it has read. It is any
tree of arrays whose first axis is the row, with these properties:

- A state of zeros is that of a row that has read nothing.
- Its shapes depend on B and the config, never on the number of tokens. Only a
  mixer with the fact `state_grows` may keep all tokens, in a `KVCache` that has
  room for `Context.state_capacity` tokens.
- `Mixer.state_axes` of the facts says which mesh axes divide the axes of its
  arrays, and `Mixer.state_bytes` how large it is.

The three ways to read give the same result, up to rounding: a text at once, a
text in parts that hand the state on, and a text token by token.
`tests/jrt_jax/models_test.py` checks this for all of `MIXERS`, and all rules of
this page.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax

from jrt_jax.models.context import Context


@runtime_checkable
class Mixer(Protocol):
  """What every mixer can do."""

  def __call__(
      self,
      x: jax.Array,
      context: Context,
      *,
      state: Any = None,
      return_state: bool = False,
  ) -> Any:
    """Reads rows in parallel.

    - Position i sees the tokens up to i. In a mixer with the fact
      `reads_prefix` it also sees the whole prefix, `context.in_prefix()`.
    - Padding (False in `context.mask`) may be on either side of the tokens of a
      row. No token sees it, and the state does not change there. Outputs at
      padding are ignored.
    - Where devices divide the L positions, `context.sequence_axes` are the axes
      of the mesh. XLA may then partition what a mixer computes, but it gathers
      whole rows for most operations along L other than shifts.
    - A token sees nothing of other documents (`context.segment_ids`), and of a
      prefix only what is in its own document. The state after the row is that
      of its last document.

    Args:
      x: [B, L, E].
      context: prefix, documents and padding of the rows.
      state: the state after earlier tokens. None: there are none. If it is
        given, the rows have no `segment_ids`, the tokens of a row start at its
        first position, and what is returned for rows without tokens is ignored.
        A prefix is then a further one: it sees the earlier tokens.
      return_state: whether to return the state after the last token of each
        row, too. Without it, training need not compute the state.

    Returns:
      [B, L, E], of the dtype of x or of the residual stream, and with
      `return_state` the state.
    """

  def step(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
    """Reads one token of each row, after `state`.

    Args:
      x: [B, E].
      state: see `__call__`.

    Returns:
      [B, E] and the state after the token.
    """


@runtime_checkable
class PrefixMixer(Mixer, Protocol):
  """What a mixer with the fact `reads_prefix` can do in addition."""

  @property
  def prefix_is_sum(self) -> bool:
    """Whether the state has the prefix as a sum over its tokens.

    Then tokens can join the prefix after later tokens were read, as in the mode
    'frozen' of `extend_prefix`.
    """
    ...

  def read_prefix(
      self,
      x: jax.Array,
      mask: jax.Array,
      state: Any,
      sequence_axes: Sequence[str] = (),
  ) -> Any:
    """Reads a prefix, and nothing else, into the state.

    A prefix that is too long to be computed at once is read in two steps, block
    by block, with the result of one call that has the prefix in its context:

        state = mixer.read_prefix(blocks, masks, state)
        y, state = mixer(x, context_without_prefix, state=state, ...)

    Args:
      x: [N, B, C, E], N consecutive blocks of C positions of each row.
      mask: bool [N, B, C], False at padding, which follows after the tokens of
        a row.
      state: the state after the tokens before the prefix.
      sequence_axes: the mesh axes that divide the C positions.

    Returns:
      The state, in which `__call__` sees the whole prefix at every position.
    """
