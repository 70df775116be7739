"""The context of rows for mixers: padding, positions and prefixes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F


class Context(NamedTuple):
  """Describes each position of the rows."""

  token: torch.Tensor  # bool [B, L], False at padding
  position: torch.Tensor  # int [B, L], for rotary embeddings
  prefix: torch.Tensor  # bool [B, P], which of the first P tokens are prefix
  # Bool [B, L] or None: keys of other positions are set to 0 before the feature
  # map, so that they keep a weight, as in models that HazyResearch has released.
  unzeroed: torch.Tensor | None = None

  def after_prefix(self):
    """Bool [B, L], the tokens that are not prefix."""
    rest = self.token.shape[1] - self.prefix.shape[1]
    return self.token & ~F.pad(self.prefix, (0, rest))


def context_of(x, attention_mask=None, position_ids=None, prefix_len=None):
  """Returns the context of rows x [B, L, E] without earlier tokens.

  Args:
    x: activations; only their shape and device matter.
    attention_mask: [B, L], 0 at padding; None: no padding.
    position_ids: int [B or 1, L]; None: from 0 at the first token of a row.
    prefix_len: int [B] or one number; None: there is no prefix.
  """
  B, L, _ = x.shape
  token = torch.ones(B, L, dtype=torch.bool, device=x.device)
  if attention_mask is not None:
    token = attention_mask.bool()
  position = token.cumsum(1) - 1
  if position_ids is not None:
    position = position_ids.expand(B, L)
  return Context(token, position, prefix_of(token, prefix_len))


def prefix_of(token, prefix_len):
  """Bool [B, P]: the prefix among the first P positions; P is the longest."""
  if prefix_len is None:
    return token[:, :0]
  prefix_len = torch.as_tensor(prefix_len, device=token.device)
  start = token.int().argmax(1)  # padding comes before it
  end = torch.where(prefix_len > 0, start + prefix_len, 0)
  prefix = token & (_index(token) < end[:, None])
  return prefix[:, : int(end.max())]


def fill_short_prefixes(x, context, prefix_len, capacity, filler):
  """Puts `filler` [E] before prefixes that are shorter than `capacity`.

  Models that HazyResearch has released do the same; keys of the filler are 0.
  The positions of tokens do not change.

  Returns:
    x [B, N + L, E] and its context, where N is the most fillers of a row.
  """
  prefix_len = torch.as_tensor(prefix_len, device=x.device).expand(len(x))
  missing = (capacity - prefix_len).clamp(min=0) * (prefix_len > 0)
  more = int(missing.max())
  x = F.pad(x, (0, 0, more, 0))
  token, position = (F.pad(a, (more, 0)) for a in context[:2])
  start = token.int().argmax(1, keepdim=True)
  before = start - _index(token)
  filled = (before > 0) & (before <= missing[:, None])
  x = torch.where(filled[..., None], filler.to(x.dtype), x)
  position = torch.where(filled, position.gather(1, start) - before, position)
  token = token | filled
  prefix = prefix_of(token, prefix_len + missing)
  return x, Context(token, position, prefix, unzeroed=~filled)


def _index(token):
  return torch.arange(token.shape[1], device=token.device)
