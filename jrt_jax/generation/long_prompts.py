"""How a prompt is read that may be longer than the prefix: plans.

A plan is a list of spans `(end, is_prefix)` in order, from the first token on.
A prefix span is seen by all of its own tokens and by all that follow, not by
those before it. `capacity` is M: for the plans BY_POLICY, what the policy of
the run gives the prompt; for the others, which make every token prefix, the
longest prefix of training.
"""

Plan = list[tuple[int, bool]]


def head(length: int, capacity: int) -> Plan:
  """The first M tokens are prefix, the others causal, as in training.

  Source: Arora et al. 2024, https://arxiv.org/abs/2407.05483.
  """
  return _spans((min(length, capacity), True), (length, False))


def tail(length: int, capacity: int) -> Plan:
  """The last M tokens are prefix, where a question often is.

  Tokens before them are read causally, and see only what came before
  themselves: nothing of the prefix. That needs no more memory than `head`.
  """
  return _spans((max(length - capacity, 0), False), (length, capacity > 0))


def whole(length: int, capacity: int) -> Plan:
  """All tokens are one prefix, however many; for models trained so.

  Every layer needs all activations of the layer before: memory grows with the
  length of the prompt.
  """
  return _spans((length, capacity > 0))


def blocks(length: int, capacity: int) -> Plan:
  """Each M tokens are a prefix of their own: memory does not grow.

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

# What is said after the first prompt. None: everything is read anew.
TURNS = {'append_causal': causal, 'turn_blocks': blocks, 'reencode': None}


def _spans(*spans):
  starts = [0, *(end for end, _ in spans)]
  return [span for start, span in zip(starts, spans) if span[0] > start]
