"""What is asked of a model, and how its contexts are cut."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jrt_jax.prompting import templates
from jrt_jax.prompting import tokens
from jrt_jax.prompting import truncation


class Example(NamedTuple):
  """A question with its context; of which kind, its task says.

  Attributes:
    id: differs between the examples of a file, and depends on nothing but the
      row.
    once: what a prompt is made of that reads the context once.
    again: what all other prompts are made of.
    answers: what is right, each in itself.
    choices: texts of which a model says how likely each follows the prompt;
      they begin with the white space that divides them from it.
    label: the index of the right choice.
    names: of the choices, if an answer has several: what stands in `answers` is
      right, besides the label.
    group: the same of examples that ask about the same context, however it is
      cut; '': no other example does.
  """

  id: str
  once: templates.Parts
  again: templates.Parts
  answers: tuple[str, ...] = ()
  choices: tuple[str, ...] = ()
  label: int = -1
  names: tuple[str, ...] = ()
  group: str = ''


class Cut(NamedTuple):
  """How contexts are cut.

  Attributes:
    tokenizer: has `encode(text)` and `decode(ids)`, for
      `truncation.truncate_context`.
    budget: tokens that are kept of a context; None: all.
  """

  tokenizer: Any = None
  budget: int | None = None

  def record(self, task: str, record: dict[str, Any]) -> dict[str, Any]:
    """Cuts as released evaluations do; see `truncation.truncate_record`."""
    if self.budget is None:
      return record
    return truncation.truncate_record(task, record, self.tokenizer, self.budget)

  def around(self, context: str, answers: Sequence[str] = ()) -> str:
    """Keeps the first of the answers that is found, or else the start."""
    if self.budget is None:
      return context
    return truncation.truncate_context(
        context, self.tokenizer, self.budget, answers, rule='centred'
    )

  def end(self, context: str) -> str:
    """Keeps the end."""
    if self.budget is None:
      return context
    ids = tokens.encode(self.tokenizer, context)
    return tokens.decode(self.tokenizer, ids[-self.budget :])

  def less(self, text: str) -> 'Cut':
    """What is left of the budget beside a text; a token at least."""
    if self.budget is None:
      return self
    used = len(tokens.encode(self.tokenizer, text))
    return self._replace(budget=max(1, self.budget - used))
