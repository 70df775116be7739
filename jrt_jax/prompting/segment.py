"""A document in paragraphs, sentences and windows; nothing of it is lost.

White space belongs to the segment after it, as most tokenizers have it, so that
segments that are left out leave no gap. A tokenizer is any object with
`encode(text)`, or a callable that counts the tokens of a text.
"""

import bisect
from collections.abc import Callable, Iterable, Sequence
import functools
import itertools
import re
from typing import Any, NamedTuple

Count = Callable[[str], int]

# In tokens. What is shorter than a sentence joins the next one.
_SHORTEST_SENTENCE, _LONGEST_SENTENCE = 8, 64
_LONGEST_PARAGRAPH, _PART_OF_PARAGRAPH = 256, 128
_SNAP = 0.1  # the share of a window that its ends may move by

# East Asian sentences end without white space after them.
_WORD = re.compile(r'\s*[^\s。！？]*[。！？]+[」』”’）]*|\s*\S+|\s+')
_CLOSING, _OPENING = '"\'”’»)]*_」』）', '"\'“‘«([*_'
_ABBREVIATION = re.compile(
    r'\W*(?:(?i:dr|mr|mrs|ms|prof|rev|gen|gov|sen|st|sr|jr|vs|figs?|nos?|eq|sec'
    r'|ch|vol|pp|al|inc|ltd|co|corp|dept|approx|ca|cf)|[^\W\d_a-z]'
    r'|(?:[^\W\d_]\.)+[^\W\d_])\.'
)


class Segment(NamedTuple):
  """A part of a document: `text == document[start:end]`."""

  start: int
  end: int
  text: str


def counter(tokenizer: Any) -> Count:
  """Returns how to count the tokens of a text; it remembers what it counted."""
  if hasattr(tokenizer, 'encode'):
    return functools.cache(lambda text: len(tokenizer.encode(text)))
  return tokenizer


def paragraphs(document: str, tokenizer: Any) -> list[Segment]:
  """Splits at blank lines, and long paragraphs into runs of sentences."""
  count, blocks = counter(tokenizer), _blocks(document)
  longest = _LONGEST_PARAGRAPH if len(blocks) > 1 else _PART_OF_PARAGRAPH
  texts = []
  for block in blocks:
    if count(block) <= longest:
      texts.append(block)
    else:
      texts += _runs(_sentences(block, count), count)
  return _locate(texts)


def sentences(document: str, tokenizer: Any) -> list[Segment]:
  """Splits at the ends of sentences, at line breaks and before ` | `.

  A sentence of less than 8 tokens joins the next one of its paragraph, and one
  of more than 64 tokens is split at white space, if it has any. Sentences never
  cross the ends of `paragraphs`.
  """
  count = counter(tokenizer)
  texts = (_sentences(block, count) for block in _blocks(document))
  return _locate(itertools.chain.from_iterable(texts))


def windows(
    document: str, tokenizer: Any, *, width: int = 128, overlap: float = 0.2
) -> list[Segment]:
  """Splits into windows of `width` tokens that overlap.

  Both ends of a window are moved by up to 10 % of its width, to the end of a
  sentence if there is one, else to that of a word.

  Args:
    document: a text.
    tokenizer: see above.
    width: of a window, in tokens.
    overlap: the share of a window that the next one reads again.

  Raises:
    ValueError: `width` or `overlap` is out of range.

  Source: the student report, section 4.3 and appendix: overlaps of 10 % to
  30 %, of which 20 % served best.
  """
  if width < 1:
    raise ValueError(f'width must be at least 1, got {width}')
  if not 0 <= overlap <= 0.5:
    raise ValueError(f'overlap must lie in [0, 0.5], got {overlap}')
  stride = max(1, round(width * (1 - overlap)))
  words, ends = _stops(document, counter(tokenizer))

  def snap(tokens):
    nearest = _nearest(ends, tokens)
    if abs(nearest[0] - tokens) > _SNAP * width:
      nearest = _nearest(words, tokens)
    return nearest[1]

  bounds = [(0, snap(width))]
  for first in itertools.count(stride, stride):
    if bounds[-1][1] == len(document):
      break
    bounds.append((snap(first), snap(first + width)))
  return [Segment(i, j, document[i:j]) for i, j in bounds if i < j]


def _locate(texts: Iterable[str]) -> list[Segment]:
  segments, start = [], 0
  for text in texts:
    segments.append(Segment(start, start + len(text), text))
    start += len(text)
  return segments


def _blocks(document: str) -> list[str]:
  """The texts between blank lines."""
  gaps = re.finditer(r'\s+(?=\S)', document)
  starts = [gap.start() for gap in gaps if gap[0].count('\n') > 1]
  bounds = itertools.pairwise([0, *starts, len(document)])
  return [document[i:j] for i, j in bounds if i < j]


def _sentences(block: str, count: Count) -> list[str]:
  texts = ['']
  for before, word in itertools.pairwise(['', *_WORD.findall(block)]):
    if _is_boundary(before, word):
      texts.append('')
    texts[-1] += word
  texts = _join_short(texts, count)
  return [half for text in texts for half in _halves(text, count)]


def _is_boundary(before: str, word: str) -> bool:
  """Whether a sentence ends between two words."""
  start, before = word.lstrip(), before.strip()
  if not before or not start:
    return False
  if '\n' in word[: len(word) - len(start)] or start.startswith('|'):
    return True
  end = before.rstrip(_CLOSING)[-1:]
  if not end or end not in '.!?…。！？':
    return False
  goes_on = start.lstrip(_OPENING)[:1].islower()
  return not goes_on and not _ABBREVIATION.fullmatch(before)


def _join_short(texts: Sequence[str], count: Count) -> list[str]:
  joined, short = [], ''
  for text in texts:
    short += text
    if count(short) >= _SHORTEST_SENTENCE:
      joined.append(short)
      short = ''
  if short:
    joined[-1:] = [''.join(joined[-1:]) + short]
  return joined


def _halves(text: str, count: Count) -> list[str]:
  if len(text) < 2 or count(text) <= _LONGEST_SENTENCE:
    return [text]
  middle = len(text) // 2
  space = text.rfind(' ', 1, middle + 1)
  cut = space if space > 0 else middle
  return _halves(text[:cut], count) + _halves(text[cut:], count)


def _runs(texts: Sequence[str], count: Count) -> list[str]:
  """Joins neighbours as long as they stay short enough."""
  runs, room = [], 0
  for text in texts:
    tokens = count(text)
    if tokens <= room:
      runs[-1] += text
    else:
      runs.append(text)
      room = _PART_OF_PARAGRAPH
    room -= tokens
  return runs


def _stops(document, count):
  """Where words and where sentences end: pairs (tokens, characters) before."""
  words, ends = [(0, 0)], [(0, 0)]
  for sentence in sentences(document, count):
    for word in _WORD.findall(sentence.text):
      tokens, characters = words[-1]
      words.append((tokens + count(word), characters + len(word)))
    ends.append(words[-1])
  return words, ends


def _nearest(stops, tokens):
  i = bisect.bisect_left(stops, (tokens,))
  return min(stops[max(0, i - 1) : i + 1], key=lambda s: abs(s[0] - tokens))
