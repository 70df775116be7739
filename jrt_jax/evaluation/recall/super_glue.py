"""Questions of SuperGLUE, as lm-evaluation-harness asks them.

Rows are from https://super.gluebenchmark.com or from the data set
`aps/super_glue`, whose labels are numbers. The prompt that shows the context
once and the scored texts are exactly those of the harness.

Source: Wang et al. 2019, https://arxiv.org/abs/1905.00537;
https://github.com/EleutherAI/lm-evaluation-harness, version 0.4.
"""

from collections.abc import Sequence
import re

from jrt_jax import schema
from jrt_jax.evaluation.recall import rows
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import templates

BINARY = schema.OneOf(False, True, 0, 1)
NO_YES = (' no', ' yes')
_ENTAILMENT = {'entailment': 0, 'contradiction': 1, 'neutral': 2}
_ENTAILMENT_OR_NOT = {'entailment': 0, 'not_entailment': 1}
_INDEX = schema.Whole(0, 2**24)


def question(
    context: str, asked: str, choices: Sequence[str], label: int
) -> Example:
  """Returns an example whose choices answer a question about its context."""
  last = f'{context}\n{asked}\nAnswer:'
  parts = templates.Parts(asked, context, f'{asked}\nAnswer:', last)
  return Example('', parts, parts, choices=tuple(choices), label=int(label))


def _boolq(row, cut):
  asked = f'Question: {row["question"]}?'
  yield question(cut.around(row['passage']), asked, NO_YES, row['label'])


def _cb(row, cut):
  asked = f'Question: {row["hypothesis"]}. True, False, or Neither?'
  choices = (' True', ' False', ' Neither')
  label = _ENTAILMENT.get(row['label'], row['label'])
  yield question(cut.around(row['premise']), asked, choices, label)


def _rte(row, cut):
  asked = f'Question: {row["hypothesis"]} True or False?'
  label = _ENTAILMENT_OR_NOT.get(row['label'], row['label'])
  premise = cut.around(row['premise'])
  yield question(premise, asked, (' True', ' False'), label)


def _wic(row, cut):
  del cut  # the context is only two sentences
  first, second = row['sentence1'], row['sentence2']
  word = first[row['start1'] : row['end1']]
  if not word.strip():
    raise ValueError('start1 and end1 must enclose a word of sentence1')
  context = f'Sentence 1: {first}\nSentence 2: {second}'
  asked = (
      f"Question: Is the word '{word}' used in the same way in the two"
      ' sentences above?'
  )
  yield question(context, asked, NO_YES, row['label'])


def _wsc(row, cut):
  pronoun, noun = row['span2_text'], row['span1_text']
  passage = _marked(row['text'], pronoun, row['span2_index'])
  asked = (
      f'Question: In the passage above, does the pronoun "*{pronoun}*" refer to'
      f' "*{noun}*"?'
  )
  passage = f'Passage: {cut.around(passage, [f"*{pronoun}*"])}'
  yield question(passage, asked, NO_YES, row['label'])


def _wsc_of_target(row, cut):
  yield from _wsc(row | row['target'], cut)


def _marked(text, pronoun, index):
  """Puts * around a pronoun, and joins words that were split at punctuation.

  Args:
    text: words with a blank between them.
    pronoun: the pronoun.
    index: the index of its first word; the nearest occurrence is used, because
      the index is wrong in some rows.
  """
  words = text.split()
  ends = [' '.join(words[i:]) for i in range(len(words))]
  found = [i for i, end in enumerate(ends) if end.startswith(pronoun)]
  if not found:
    raise ValueError('span2_text must be in text')
  at = min(found, key=lambda i: abs(i - index))
  after = ends[at].removeprefix(pronoun)
  joined = ' '.join([*words[:at], f'*{pronoun}*{after}'])
  joined = joined.replace(" n't", "n't").replace(' )', ')').replace('( ', '(')
  joined = joined.replace('" ', '"').replace(' "', '"')
  return re.sub(r" (['.,])", r'\1', joined)


_SPANS = {
    'span1_text': rows.FILLED,
    'span2_text': rows.FILLED,
    'span2_index': _INDEX,
}
_SENTENCES = {'premise': rows.FILLED, 'hypothesis': rows.FILLED}

BOOLQ = (
    rows.release(
        _boolq, passage=rows.FILLED, question=rows.FILLED, label=BINARY
    ),
)
CB = (
    rows.release(
        _cb,
        **_SENTENCES,
        label=schema.OneOf(*_ENTAILMENT, *_ENTAILMENT.values()),
    ),
)
RTE = (
    rows.release(
        _rte,
        **_SENTENCES,
        label=schema.OneOf(*_ENTAILMENT_OR_NOT, *_ENTAILMENT_OR_NOT.values()),
    ),
)
WIC = (
    rows.release(
        _wic,
        sentence1=rows.FILLED,
        sentence2=rows.FILLED,
        start1=_INDEX,
        end1=_INDEX,
        label=BINARY,
    ),
)
WSC = (
    rows.release(_wsc, text=rows.FILLED, label=BINARY, **_SPANS),
    rows.release(
        _wsc_of_target,
        text=rows.FILLED,
        label=BINARY,
        target=rows.record(**_SPANS),
    ),
)
