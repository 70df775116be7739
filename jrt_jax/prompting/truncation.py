"""Contexts cut to a budget of tokens, around their answers.

All prompts of an example have the same context. It contains the answer, so that
scores are those of a reader who knows where to look. The released evaluations
keep 950 tokens: 1000 minus 50 for the answer.

Source: `truncate_context` of the released evaluation harness,
https://github.com/HazyResearch/prefix-linear-attention.
"""

from collections.abc import Sequence
import re
from typing import Any

from jrt_jax.prompting import templates
from jrt_jax.prompting import tokens


def truncate_record(
    task: str,
    record: templates.Record,
    tokenizer: Any,
    budget: int,
    *,
    rule: str = 'released',
) -> dict[str, Any] | None:
  """Returns the record with its context cut around the first of its answers.

  If the context has none of them, it is cut around the record's `alt_answers`.
  With the rule 'released', the result is None if an answer has less than two
  characters: released evaluations leave such records out.

  Args:
    task: a key of `templates.TASKS`.
    record: a row of the task's dataset, with the original fields.
    tokenizer, budget, rule: see `truncate_context`.

  Raises:
    ValueError: `task` or `rule` is unknown.
  """
  _, field, names, read = templates.find_task(task)
  answers = [_first(record[name]) for name in names]
  if rule == 'released' and is_left_out(task, record):
    return None
  context = read(record[field])
  others = ([answer] for answer in record.get('alt_answers', ()))
  found = (each for each in (answers, *others) if _find(each, context))
  cut = truncate_context(
      context, tokenizer, budget, next(found, answers), rule=rule
  )
  return {**record, field: cut}


def is_left_out(task: str, record: templates.Record) -> bool:
  """Whether released evaluations leave a record out.

  They do so if the answer around which they cut has less than two characters;
  in a list of answers, the first one decides.

  Raises:
    ValueError: `task` is unknown.
  """
  names = templates.find_task(task).answers
  return any(len(_first(record[name])) < 2 for name in names)


def truncate_context(
    context: str,
    tokenizer: Any,
    budget: int,
    answers: Sequence[str] = (),
    *,
    rule: str = 'released',
) -> str:
  """Returns `budget` tokens of a context around the first of its answers.

  Args:
    context: text; white space around it is dropped.
    tokenizer: has `encode(text)` and `decode(ids)`, or is a name or path as in
      `config.data`. Special tokens that it adds count, but are never text.
    budget: how many tokens are kept.
    answers: the context is cut around their earliest occurrence, ignoring case;
      without answers the first tokens are kept.
    rule: a key of `RULES`. 'released' puts the start of the answer in the
      middle, even if the context then ends before the budget is used; if the
      context has no answer, it keeps half a budget of tokens at the end.
      'centred' puts the answer in the middle if there is text around it, and
      always uses the whole budget; if the context has no answer, it keeps the
      start.

  Raises:
    ValueError: `rule` is unknown.
  """
  if rule not in RULES:
    raise ValueError(f'rule must be one of {", ".join(RULES)}, got {rule!r}')
  context, tokenizer = context.strip(), tokens.load(tokenizer)
  ids = tokens.encode(tokenizer, context)

  def count(end):
    return len(tokens.encode(tokenizer, context[:end]))

  start = RULES[rule](count, len(ids), budget, _find(answers, context))
  return tokens.decode(tokenizer, ids[start : start + budget])


def _first(answer):
  """A text, or the first of a list of texts; '' if there is none."""
  return answer if isinstance(answer, str) else next(iter(answer), '')


def _find(answers, context):
  return re.search('|'.join(map(re.escape, answers)), context, re.IGNORECASE)


def _released(count, length, budget, found):
  del length
  # In the released code a missing answer is at -1, before the last character.
  return max(0, count(found.start() if found else -1) - budget // 2)


def _centred(count, length, budget, found):
  if not found:
    return 0
  first, last = count(found.start()), count(found.end())
  middle = min(first, (first + last - budget) // 2)
  return max(0, min(middle, length - budget))


# Functions to the first kept token. Their arguments are a function that counts
# the tokens before a character, the number of tokens of the context, the budget
# and the position of the answer.
RULES = {'released': _released, 'centred': _centred}
