"""Finding one of many similar facts: key-value pairs, and RULER's needles.

Sources: Liu et al. 2023, section 3, https://arxiv.org/abs/2307.03172; Hsieh et
al. 2024, https://arxiv.org/abs/2404.06654.
"""

import json

from jrt_jax import schema
from jrt_jax.evaluation.recall import rows
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import templates


def _key_value(row, cut):
  """A JSON object and one of its keys; the answer may be in quotes."""
  key, value = row['key'], row['value']
  if [key, value] not in [[*pair] for pair in row['ordered_kv_records']]:
    raise ValueError('key and value must be one of ordered_kv_records')
  pairs = (f'{_quoted(k)}: {_quoted(v)}' for k, v in row['ordered_kv_records'])
  context = '{' + ',\n '.join(pairs) + '}'
  intro = f'Information about the key {_quoted(key)}.'
  question = f'Key: {_quoted(key)}\nValue:'
  yield _example(intro, cut.around(context, [value]), question, [value])


def _ruler(row, cut):
  """The last line asks the question and begins the answer."""
  if len(row['outputs']) > 1:  # each would count as an answer
    raise ValueError(f'outputs must be one needle, got {len(row["outputs"])}')
  context, _, question = row['input'].rpartition('\n')
  if not context.strip():
    raise ValueError('input must have a line before that of the question')
  intro, mark, _ = question.partition('?')
  context = cut.around(context, row['outputs'])
  yield _example(intro + mark, context, question, row['outputs'])


def _example(intro, context, question, answers):
  parts = templates.Parts(intro, context, question, f'{context}\n{question}')
  return Example('', parts, parts, tuple(answers))


def _quoted(text):
  return json.dumps(text, ensure_ascii=False)


KEY_VALUE = (
    rows.release(
        _key_value,
        ordered_kv_records=schema.ListOf(
            schema.ListOf(rows.TEXT, 2, 2), 1, 10**6
        ),
        key=rows.FILLED,
        value=rows.FILLED,
    ),
)
RULER = (
    rows.release(
        _ruler,
        input=rows.FILLED,
        outputs=schema.ListOf(rows.FILLED, 1, 10_000),
    ),
)
