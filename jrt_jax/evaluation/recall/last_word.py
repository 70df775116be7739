"""LAMBADA: the last word of a passage, which needs more than its last sentence.

There is no question. Prompts that show the context twice use the sentence that
the word ends as the question.

Source: Paperno et al. 2016, https://arxiv.org/abs/1606.06031.
"""

from jrt_jax.evaluation.recall import rows
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import segment
from jrt_jax.prompting import templates


def _of_text(row, cut):
  context, _, word = row['text'].rstrip().rpartition(' ')
  if not context.strip():
    raise ValueError('text must have several words')
  yield _example(context, word, cut)


def _of_context(row, cut):
  yield _example(row['context'].rstrip(), row['continuation'].strip(), cut)


def _example(context, word, cut):
  context = cut.end(context)
  start = _last_sentence(context)
  question = context[start:].strip()
  parts = templates.Parts(question, context[:start], question, context)
  return Example('', parts, parts, (word,), (f' {word}',), 0)


def _last_sentence(context):
  """The start of the last sentence, or of the second half of the only one."""
  last = segment.sentences(context)[-1].start
  return last or max(0, context.rfind(' ', 0, len(context) // 2 + 1))


LAMBADA = (
    rows.release(_of_context, context=rows.FILLED, continuation=rows.FILLED),
    rows.release(_of_text, text=rows.FILLED),
)
