"""An example of a task, and how contexts are cut."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jrt_jax.prompting import templates
from jrt_jax.prompting import tokens
from jrt_jax.prompting import truncation


class Example(NamedTuple):
  """A question with its context; its task decides how it is asked.

  Attributes:
    id: unique in a file; depends only on the row.
    once: the parts of prompts that show the context once.
    again: the parts of all other prompts.
    answers: the right answers; each of them suffices.
    choices: texts that the model scores after the prompt; they begin with the
      white space that separates them from it.
    label: the index of the right choice.
    names: names of the choices, if several are right: those in `answers` are
      right, too.
    group: equal for examples about the same context, however it is cut; '' if
      no other example has this context.
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
    tokenizer: has `encode(text)` and `decode(ids)`, see
      `truncation.truncate_context`.
    budget: the most tokens of a context; None: no bound.
  """

  tokenizer: Any = None
  budget: int | None = None

  def record(self, task: str, record: dict[str, Any]) -> dict[str, Any]:
    """Cuts like released evaluations; see `truncation.truncate_record`."""
    if self.budget is None:
      return record
    return truncation.truncate_record(task, record, self.tokenizer, self.budget)

  def around(self, context: str, answers: Sequence[str] = ()) -> str:
    """Cuts around the first answer that the context has, else to its start."""
    if self.budget is None:
      return context
    return truncation.truncate_context(
        context, self.tokenizer, self.budget, answers, rule='centred'
    )

  def end(self, context: str) -> str:
    """Cuts a context to its end."""
    if self.budget is None:
      return context
    ids = tokens.encode(self.tokenizer, context)
    return tokens.decode(self.tokenizer, ids[-self.budget :])

  def less(self, text: str) -> 'Cut':
    """Returns a cut whose budget is reduced by a text; at least one token."""
    if self.budget is None:
      return self
    used = len(tokens.encode(self.tokenizer, text))
    return self._replace(budget=max(1, self.budget - used))
