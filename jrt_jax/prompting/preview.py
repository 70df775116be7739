r"""Shows a hierarchical prompt: the document, and the parts that it repeats.

python -m jrt_jax.prompting.preview --input=FILE \
    --question='When was it approved?'

Each line is a piece of the prompt, in the order in which a model reads it.
"""

import shutil

from absl import app
from absl import flags

from jrt_jax import command_line
from jrt_jax.data import sources
from jrt_jax.data import tokenizers
from jrt_jax.prompting import hierarchy
from jrt_jax.prompting import saliency
from jrt_jax.prompting import templates

_INPUT = flags.DEFINE_string(
    'input', None, 'The document, a file, plain, .gz or .zst.'
)
_QUESTION = flags.DEFINE_string(
    'question', None, 'The question about the document.'
)
_TOKENIZER = flags.DEFINE_string(
    'tokenizer', 'bytes', 'The path of a tokenizer.json, or bytes.'
)
_REPEATS = flags.DEFINE_list(
    'repeats',
    ['sentence'],
    'The levels that are repeated, in this order, of'
    f' {", ".join(hierarchy.LEVELS)}; a level can be given several times.',
)
_RATIO = flags.DEFINE_float(
    'ratio', 0.5, 'The share of each level that is repeated.'
)
_SALIENCY = flags.DEFINE_enum(
    'saliency', 'bm25', ['bm25', 'lead', 'random'], 'How segments are ranked.'
)
_ORDER = flags.DEFINE_enum(
    'order',
    'breadth',
    [*hierarchy.ORDERS],
    'Whether to repeat after the document or after each paragraph.',
)
_TOKEN_BUDGET = flags.DEFINE_integer(
    'token_budget',
    None,
    'The most tokens of the prompt (bytes without a --tokenizer); default: no'
    ' limit.',
)
_WIDTH = flags.DEFINE_integer('width', 100, 'The words of a window.')
_OVERLAP = flags.DEFINE_float(
    'overlap', 0.2, 'The share of a window that the next one shares.'
)


def main(argv: list[str]) -> None:
  del argv
  with command_line.one_line_errors():
    path = command_line.required(_INPUT, 'FILE')
    command_line.required(_QUESTION, 'TEXT')
    with command_line.reading('--input'), sources.open_text(path) as (file, _):
      document = file.read().decode(errors='replace')
    tokenizer = tokenizers.load(_TOKENIZER.value)
    prompt = _prompt(document, tokenizer)
  for line in _lines(prompt, tokenizer):
    print(line)
  once, flat = (
      templates.jrt_prompt(document, _QUESTION.value, p) for p in (1, 2)
  )
  read, once, flat = (_tokens(tokenizer, t) for t in (prompt.text, once, flat))
  unit = 'bytes' if _TOKENIZER.value == 'bytes' else 'tokens'
  print(f'{read:,} {unit}; {once:,} read once, {flat:,} read twice')
  if prompt.cut:
    budget = f'--token_budget={_TOKEN_BUDGET.value}'
    print(f'{budget} has no room for the whole document')


def _prompt(document, tokenizer):
  kinds = {'bm25': saliency.bm25, 'lead': saliency.lead}
  return hierarchy.hierarchical_prompt(
      document,
      _QUESTION.value,
      tokenizer,
      repeats=_REPEATS.value,
      ratio=_RATIO.value,
      saliency=kinds.get(_SALIENCY.value) or saliency.random(seed=0),
      order=_ORDER.value,
      budget=_TOKEN_BUDGET.value,
      width=_WIDTH.value,
      overlap=_OVERLAP.value,
  )


def _lines(prompt, tokenizer):
  """Yields a line for each piece, of the prompt and beyond the budget."""
  columns = shutil.get_terminal_size().columns
  cut = [hierarchy.Piece('cut', text) for text in prompt.cut]
  for title, pieces in (
      ('read', prompt.pieces),
      ('salient, but beyond the budget', prompt.left_out),
      ('never read', cut),
  ):
    if pieces:
      yield f'{title}:'
    for level, text in pieces:
      line = f'  {level:9} {_tokens(tokenizer, text):7,}  {_visible(text)}'
      yield line[:columns]


def _tokens(tokenizer, text):
  return len(tokenizer.encode(text))


def _visible(text):
  """The text on one line, without control characters."""
  text = ' '.join(text.split())
  return ''.join(
      c if c.isprintable() else '\N{REPLACEMENT CHARACTER}' for c in text
  )


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser())
