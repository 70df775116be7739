"""Plans: how prompts are read that may be longer than the prefix.

A plan is a list of spans `(end, is_prefix)` in order, from the first token on.
The tokens of a prefix span see the whole span, and so do all later tokens.
`capacity` is M. For the plans BY_POLICY it is the prefix length that the run's
policy gives the prompt; for the others, which make every token prefix, it is
the longest prefix of training.
"""

Plan = list[tuple[int, bool]]


def head(length: int, capacity: int) -> Plan:
  """The first M tokens are prefix, the others causal, as in training.

  Source: Arora et al. 2024, https://arxiv.org/abs/2407.05483.
  """
  return _spans((min(length, capacity), True), (length, False))


def tail(length: int, capacity: int) -> Plan:
  """The last M tokens, where a question often is, are prefix.

  Earlier tokens are read causally and see nothing of the prefix. This needs no
  more memory than `head`.
  """
  return _spans((max(length - capacity, 0), False), (length, capacity > 0))


def whole(length: int, capacity: int) -> Plan:
  """All tokens are one prefix; for models that were trained in this way.

  Every layer needs all activations of the layer before, so that memory grows
  with the length of the prompt.
  """
  return _spans((length, capacity > 0))


def blocks(length: int, capacity: int) -> Plan:
  """Each block of M tokens is its own prefix: memory does not grow.

  A token sees its whole block and all blocks before it.
  """
  if not capacity:
    return causal(length, capacity)
  ends = [*range(capacity, length, capacity), length]
  return _spans(*((end, True) for end in ends))


def causal(length: int, capacity: int) -> Plan:
  """No token is prefix."""
  del capacity
  return _spans((length, False))


LONG_PROMPTS = {'head': head, 'tail': tail, 'all': whole, 'blocks': blocks}
BY_POLICY = ('head', 'tail')

# How turns after the first are read. None: everything is read again.
TURNS = {'append_causal': causal, 'turn_blocks': blocks, 'reencode': None}


def _spans(*spans):
  starts = [0, *(end for end, _ in spans)]
  return [span for start, span in zip(starts, spans) if span[0] > start]
