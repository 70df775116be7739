"""Hierarchical prompts, which repeat the salient parts of a document.

The document is shown once. Then the most salient segments of each level are
repeated, for example of its sentences. A longer list of levels repeats more:
`('paragraph', 'sentence', 'sentence')` repeats paragraphs once and sentences
twice.

Source: the student report, section 4.3 (hierarchical JRT-prompting).
"""

from collections.abc import Sequence
import math
from typing import Any, NamedTuple

from jrt_jax.prompting import excerpt
from jrt_jax.prompting import saliency as saliency_lib
from jrt_jax.prompting import segment
from jrt_jax.prompting import tokens


class Piece(NamedTuple):
  """A piece of a prompt.

  Attributes:
    level: 'question', 'context', or a key of `LEVELS` for a repetition.
    text: as it stands in the prompt.
  """

  level: str
  text: str


class Prompt(NamedTuple):
  """A prompt in the order in which it is read, and the parts left out of it.

  Attributes:
    pieces: in the order in which they are read.
    left_out: salient repetitions that exceed the budget.
    cut: parts of the context that exceed the budget.
  """

  pieces: Sequence[Piece]
  left_out: Sequence[Piece]
  cut: Sequence[str]

  @property
  def text(self) -> str:
    """The prompt."""
    return ''.join(piece.text for piece in self.pieces)


def hierarchical_prompt(
    context: str,
    question: str,
    tokenizer: Any,
    *,
    repeats: Sequence[str] = ('sentence',),
    ratio: float = 0.5,
    saliency: saliency_lib.Saliency = saliency_lib.bm25,
    order: str = 'breadth',
    budget: int | None = None,
    intro: str | None = None,
    width: int = 100,
    overlap: float = 0.2,
) -> Prompt:
  """Shows a context once, and the most salient segments of some levels again.

  With `ratio=1` (and `overlap=0` for windows) and order 'breadth', the result
  is exactly that of `jrt_prompt` with p = 1 + len(repeats).

  Args:
    context: the text that has the answer; not empty.
    question: the end of the prompt, which the answer continues.
    tokenizer: used only for the budget. It has `encode(text)`, or is a name or
      path as in `config.data`, or is a function that counts tokens.
    repeats: the levels that are repeated after the context, in this order:
      'paragraph', 'sentence' or 'window' (of words).
    ratio: the share of a level's segments that is repeated.
    saliency: ranks segments; see `jrt_jax.prompting.saliency`.
    order: 'breadth' shows the context, then one level after the other;
      'interleaved' repeats the segments of a paragraph right after it.
    budget: the most tokens of the prompt. It is spent on the context, then on
      `repeats` in turn: on the most salient segments that still fit. If the
      context itself is too long, only its most salient passages are shown; see
      `jrt_jax.prompting.excerpt`.
    intro: the question before the context, if it differs from `question`.
    width: words of a window.
    overlap: the share of a window that the next one repeats.

  Raises:
    ValueError: an argument is out of range, or no part of the context fits into
      `budget` beside the question.
  """
  _check(context, repeats, ratio, order)
  count = tokens.counter(tokenizer)
  budget = math.inf if budget is None else budget
  intro = question if intro is None else intro
  layout = _Layout(intro, question, repeats, order, count)
  read, cut = context, []
  if layout.once(context) > budget:
    read, cut = excerpt.excerpt(
        context, question, saliency, layout.once, budget
    )
  wanted = []
  for i, level in enumerate(repeats):
    options = {'width': width, 'overlap': overlap} if level == 'window' else {}
    segments = LEVELS[level](read, **options)
    best = _best(segments, saliency, question, ratio)
    wanted += [_Repeat(i, level, s) for s in best]
  paragraphs = segment.paragraphs(read)
  chosen = _afford(wanted, paragraphs, layout, budget)
  taken = {*chosen}
  left_out = [Piece(r.level, r.part.text) for r in wanted if r not in taken]
  return Prompt(layout.pieces(paragraphs, chosen), left_out, cut)


class _Repeat(NamedTuple):
  """A part of the context that is repeated."""

  reading: int  # the index in `repeats`
  level: str
  part: segment.Segment


class _Layout(NamedTuple):
  """How a prompt is composed of segments."""

  intro: str
  question: str
  repeats: Sequence[str]
  order: str
  count: tokens.Count

  def pieces(self, paragraphs, chosen=()):
    return [
        Piece('question', f'{self.intro} '),
        *ORDERS[self.order](paragraphs, len(self.repeats), chosen),
        Piece('question', f' {self.question}'),
    ]

  def tokens(self, paragraphs, chosen=()):
    pieces = self.pieces(paragraphs, chosen)
    return self.count(''.join(piece.text for piece in pieces))

  def once(self, context):
    """The tokens of a prompt that shows a context and repeats nothing."""
    return self.tokens([segment.Segment(0, len(context), context)])


def _check(context, repeats, ratio, order):
  if not context:
    raise ValueError('context must not be empty')
  for level in repeats:
    if level not in LEVELS:
      raise ValueError(f'repeats must be of {", ".join(LEVELS)}, got {level!r}')
  if not 0 <= ratio <= 1:
    raise ValueError(f'ratio must lie in [0, 1], got {ratio}')
  if order not in ORDERS:
    raise ValueError(f'order must be one of {", ".join(ORDERS)}, got {order!r}')


def _best(segments, saliency, question, ratio):
  """The share `ratio` of the segments, the most salient first."""
  scores = saliency([s.text for s in segments], question)
  ranks = sorted(range(len(segments)), key=lambda i: -scores[i])
  return [segments[i] for i in ranks[: math.ceil(ratio * len(segments))]]


def _afford(wanted, paragraphs, layout, budget):
  """Returns the segments that fit into the budget, added one by one."""
  room = budget - layout.tokens(paragraphs)
  chosen = []
  for repeat in wanted:
    cost = layout.count(repeat.part.text)
    if cost <= room:
      chosen.append(repeat)
      room -= cost
  # Joined texts can have more tokens: line breaks are tokens, too.
  while chosen and layout.tokens(paragraphs, chosen) > budget:
    chosen.pop()
  return chosen


def _breadth(paragraphs, readings, chosen):
  pieces = [Piece('context', p.text) for p in paragraphs]
  for i in range(readings):
    pieces += _reading(r for r in chosen if r.reading == i)
  return pieces


def _interleaved(paragraphs, readings, chosen):
  pieces = []
  for p in paragraphs:
    inside = [r for r in chosen if p.start < r.part.end <= p.end]
    pieces += _breadth([p], readings, inside)
  return pieces


def _reading(repeats):
  """The segments in the order of the document, on one line."""
  pieces, end = [], 0
  for _, level, (start, stop, text) in sorted(repeats):
    if start > end and not text[0].isspace():
      text = f' {text}'  # keeps words apart
    if not pieces:
      text = '\n' + (text.lstrip() if start else text)
    pieces.append(Piece(level, text))
    end = stop
  return pieces


LEVELS = {
    'paragraph': segment.paragraphs,
    'sentence': segment.sentences,
    'window': segment.windows,
}
ORDERS = {'breadth': _breadth, 'interleaved': _interleaved}
