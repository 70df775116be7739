"""Prompts that repeat the parts of a document that matter (hierarchical).

The document is read once. Then levels of it are repeated, such as sentences,
and of each level its most salient segments. A longer list of levels repeats
more: `('sentence',)` and `('paragraph', 'sentence', 'sentence')` are heavy in
sentences, `('paragraph',)` in paragraphs.

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
  """A piece of a prompt."""

  level: str  # 'question', 'context', or a key of `LEVELS`: of a repetition
  text: str


class Prompt(NamedTuple):
  """A prompt in the order in which it is read, and what is not in it."""

  pieces: Sequence[Piece]
  left_out: Sequence[Piece]  # salient, but there is no budget to repeat it
  cut: Sequence[str]  # of the context, what there is no budget to read

  @property
  def text(self) -> str:
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
  """Reads a context once, and the best segments of some levels again.

  With `ratio=1` (and `overlap=0` for windows) and order 'breadth' it is
  `templates.jrt_prompt` with p = 1 + len(repeats), to the character.

  Args:
    context: what the answer is in; not empty.
    question: the end of the prompt, which the answer continues.
    tokenizer: has `encode(text)`, or is a name or path as in `config.data`, or
      counts the tokens of a text; of this only the budget depends.
    repeats: the levels that are read after the context, keys of `LEVELS`.
    ratio: the share of a level's segments that is repeated.
    saliency: which of them; see `jrt_jax.prompting.saliency`.
    order: 'breadth' reads the context, then one level after the other;
      'interleaved' reads after each paragraph what is repeated of it.
    budget: the most tokens that the prompt may have. It is spent on the first
      reading, then on `repeats` in turn: on the most salient segments that
      still fit. Of a context that is too long the most salient passages are
      read; see `jrt_jax.prompting.excerpt`.
    intro: the question as it is asked first, if not as it is asked last.
    width, overlap: of windows; see `segment.windows`.

  Raises:
    ValueError: an argument is out of range, or nothing of the context fits into
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
  """A part of the context that is read again."""

  reading: int  # of `repeats`
  level: str
  part: segment.Segment


class _Layout(NamedTuple):
  """How a prompt is made of segments."""

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
    """Tokens of the prompt that reads a context, and repeats nothing."""
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
  """The share `ratio` of segments, most salient first."""
  scores = saliency([s.text for s in segments], question)
  ranks = sorted(range(len(segments)), key=lambda i: -scores[i])
  return [segments[i] for i in ranks[: math.ceil(ratio * len(segments))]]


def _afford(wanted, paragraphs, layout, budget):
  """Takes what still fits, in turn."""
  room = budget - layout.tokens(paragraphs)
  chosen = []
  for repeat in wanted:
    cost = layout.count(repeat.part.text)
    if cost <= room:
      chosen.append(repeat)
      room -= cost
  # Texts can have more tokens together than apart: line breaks have some.
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
  """Segments in the order of the document, on a line of their own."""
  pieces, end = [], 0
  for _, level, (start, stop, text) in sorted(repeats):
    if start > end and not text[0].isspace():
      text = f' {text}'  # words must not grow together
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
