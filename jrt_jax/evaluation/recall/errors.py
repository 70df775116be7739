"""What wrong answers are like, and what of it shows that reading twice fails.

Source: Arora et al. 2024, Table 13 (no answer, repetition, irrelevant). The
rates of the classes and of right answers sum up to 1.
"""

from collections.abc import Mapping, Sequence
import difflib
import re

from jrt_jax.evaluation.recall import scores

_HEAD = 64  # words of a prompt, whose repetition counts
_REPEATED = 0.5  # the share of an answer that makes it a repetition
_MORE_REPETITION = 0.05  # as in Mamba-2.8B on SQuAD: 5.5 to 32.9 %


def classify(answer: str, prompt: str, questions: Sequence[str]) -> str:
  """Returns the class of a wrong answer, a key of `CLASSES`.

  What is counted are words, not tokens: rates of models whose tokenizers
  differ can be compared.

  Args:
    answer: as it was generated; its first line counts.
    prompt: whose first 64 words an answer may repeat.
    questions: which it may repeat as well.
  """
  answer = scores.first_line(answer).strip()
  if not answer:
    return 'no_answer'
  words = _words(answer)
  sources = [_words(prompt)[:_HEAD], *map(_words, questions)]
  longest = max(_longest_run(words, source) for source in sources)
  if words and longest >= _REPEATED * len(words):
    return 'repetition'
  return 'irrelevant'


def rates(classes: Sequence[str | None]) -> dict[str, float]:
  """Returns the share of each class among all examples; None: it was right."""
  return {name: classes.count(name) / len(classes) for name in CLASSES}


def warnings(
    prompt: str,
    gain: float,
    rates: Mapping[str, float],
    baseline: Mapping[str, float],
) -> list[str]:
  """Returns a line for each sign that a kind of prompt does not help a model.

  Args:
    prompt: the kind.
    gain: its accuracy less that of the default, in [-1, 1].
    rates, baseline: of the errors of both.
  """
  lines = []
  if gain <= 0:
    lines.append(
        f'{prompt} recalls no more than default ({100 * gain:+.1f} points)'
    )
  before, after = (each['repetition'] for each in (baseline, rates))
  if after - before > _MORE_REPETITION:
    lines.append(
        f'{prompt} makes {after:.1%} of answers repeat the prompt, default'
        f' {before:.1%}'
    )
  return lines


def _words(text):
  return re.findall(r'\w+', text.casefold())


def _longest_run(words, source):
  """How many words in a row both have."""
  matcher = difflib.SequenceMatcher(None, words, source, autojunk=False)
  return matcher.find_longest_match().size


CLASSES = {
    'no_answer': 'the first line is empty',
    'repetition': 'half of it, in a row, is of the question or of the first 64'
    ' words of the prompt',
    'irrelevant': 'wrong otherwise',
}
