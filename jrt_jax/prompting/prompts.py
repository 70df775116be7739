"""Kinds of prompts: how the parts of an example become one text.

In an order such as QDDQ, D is the context and Q the question. The paper
compares DQ and QDDQ. QDQ and DDQ show which of its two changes helps: the
question at the start or the repetition. DQDQ starts with the context, which is
the same for all questions about it, so that a server can keep its state.

Source: Arora et al. 2024, section 3, https://arxiv.org/abs/2407.05483, and the
student report, section 4.3 (hierarchical).
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

from jrt_jax.prompting import hierarchy
from jrt_jax.prompting import templates
from jrt_jax.prompting.templates import Parts


class Kind(NamedTuple):
  """A kind of prompt.

  Attributes:
    about: one line about what it shows.
    text: a function from the parts of an example to its prompt.
    once: whether `text` takes the parts for prompts that show the context once;
      released prompts clean the context differently in this case.
  """

  about: str
  text: Callable[[Parts], str]
  once: bool = False


def find(name: str) -> Kind:
  """Returns the kind of this name; raises ValueError if there is none."""
  if name not in PROMPTS:
    raise ValueError(
        f'prompt must be one of {", ".join(PROMPTS)}, got {name!r}'
    )
  return PROMPTS[name]


def prompt(name: str, once: Parts, again: Parts) -> str:
  """Returns the prompt of an example.

  Args:
    name: a key of `PROMPTS`.
    once: the parts for prompts that show the context once.
    again: the parts for all other prompts.

  Raises:
    ValueError: `name` is unknown, or a hierarchical prompt has no context or
      no question.
  """
  kind = find(name)
  return kind.text(once if kind.once else again)


def _ordered(order, parts):
  """Like `templates.arrange`, but without a space for an empty question."""
  return templates.arrange(parts, order if parts.intro else order.lstrip('Q'))


def _hierarchical(parts):
  """Has no budget, so that the repetition does not depend on a tokenizer."""
  if not (parts.context.strip() and parts.question.strip()):
    raise ValueError(
        'hierarchical prompts need a context and a question, got'
        f' {len(parts.context)} and {len(parts.question)} characters'
    )
  found = hierarchy.hierarchical_prompt(
      parts.context, parts.question, len, intro=parts.intro
  )
  return found.text if parts.intro else found.text.removeprefix(' ')


def _order(order):
  return functools.partial(_ordered, order)


PROMPTS = {
    'default': Kind('context, question', _order('DQ'), once=True),
    'twice': Kind('question, context twice, question', _order('QDDQ')),
    'question_first': Kind('question, context, question', _order('QDQ')),
    'context_twice': Kind('context twice, question', _order('DDQ')),
    'shared_context': Kind('context, question, and both again', _order('DQDQ')),
    'hierarchical': Kind(
        'question, context, the most relevant half of its sentences, question',
        _hierarchical,
    ),
}
