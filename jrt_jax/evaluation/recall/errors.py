"""Classes of wrong answers, and signs that reading twice does not help.

Source: Arora et al. 2024, Table 13 (no answer, repetition, irrelevant). The
rates of the classes and of right answers add up to 1.
"""

from collections.abc import Mapping, Sequence
import difflib
import re

from jrt_jax.evaluation.recall import scores

_HEAD = 64  # words at the start of a prompt that count as repetition
_REPEATED = 0.5  # an answer is a repetition from this share on
_MORE_REPETITION = 0.05  # as in Mamba-2.8B on SQuAD: 5.5 to 32.9 %


def classify(answer: str, prompt: str, questions: Sequence[str]) -> str:
  """Returns the class of a wrong answer, a key of `CLASSES`.

  Words are counted, not tokens, so that rates of models with different
  tokenizers can be compared.

  Args:
    answer: the generated text; only its first line counts.
    prompt: repeating its first 64 words counts as repetition.
    questions: repeating one of them counts as repetition, too.
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
  """Returns the share of each class; None in `classes` is a right answer."""
  return {name: classes.count(name) / len(classes) for name in CLASSES}


def warnings(
    prompt: str,
    gain: float,
    rates: Mapping[str, float],
    baseline: Mapping[str, float],
) -> list[str]:
  """Returns a line for each sign that a kind of prompt does not help a model.

  Args:
    prompt: the kind of prompt.
    gain: its accuracy minus that of the default prompt, in [-1, 1].
    rates, baseline: the error rates of this prompt and of the default.
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
  """The number of words of the longest run that both have."""
  matcher = difflib.SequenceMatcher(None, words, source, autojunk=False)
  return matcher.find_longest_match().size


CLASSES = {
    'no_answer': 'the first line is empty',
    'repetition': 'half of it, in a row, is of the question or of the first 64'
    ' words of the prompt',
    'irrelevant': 'wrong otherwise',
}
